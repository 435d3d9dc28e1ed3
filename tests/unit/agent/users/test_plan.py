"""The plan: every user ends as wanted, for a reason that is told, and nobody else is touched."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.agent.users import samples
from tunnel_whisperer.problems import InvalidInputError
from tunnel_whisperer.users.desired import DesiredUser, read_desired
from tunnel_whisperer.users.model import UserSet
from tunnel_whisperer.users.plan import Plan, Policy, make_plan
from tunnel_whisperer.users.targets import Target

DB = Target("127.0.0.1", 5432)
WEB = Target("127.0.0.1", 80)
POLICY = Policy("acme", purge=True)


def wanted(
    name: str, number: int | None = 1, *, targets: frozenset[Target] = frozenset({DB}), **more: Any
) -> DesiredUser:
    key = None if number is None else samples.key(number)
    return DesiredUser(name, targets=targets, host="client1", key=key, **more)


NUMBERS = count(1)


def new_uuid() -> str:
    return f"00000000-0000-4000-8000-{next(NUMBERS):012d}"


def plan(current: UserSet, *desired: DesiredUser, policy: Policy = POLICY, stale: dict[str, str] | None = None) -> Plan:
    return make_plan(current, {user.name: user for user in desired}, policy, stale=stale, new_uuid=new_uuid)


def after(made: Plan) -> UserSet:
    return made.outcome(lambda name: f"certificate of {name}")


def users(*desired: DesiredUser, policy: Policy = POLICY) -> UserSet:
    return after(plan(UserSet(), *desired, policy=policy))


def only(made: Plan) -> Any:
    (action,) = made.actions.values()
    return action


def test_a_new_user_is_made() -> None:
    made = plan(UserSet(), wanted("alice", csr="csr", apps=("pg",)))
    assert (only(made).kind, only(made).reasons) == ("create", ("it is new",))
    alice = after(made)["alice"]
    assert alice.uuid.startswith("00000000-0000-4000-8000-")
    assert alice.authorized_key.endswith(f'permitopen="{DB}" {samples.key()} alice@acme')
    assert (alice.certificate, alice.apps, alice.origin) == ("certificate of alice", ("pg",), "inventory")
    assert after(made).generation == 1


def test_what_is_as_wanted_is_kept() -> None:
    current = users(wanted("alice", csr="csr"))
    made = plan(current, wanted("alice", csr="another csr of the same key"))
    assert (only(made).kind, made.changed) == ("keep", False)
    assert after(made) is current


def test_a_user_without_a_request_gets_no_certificate() -> None:
    assert users(wanted("alice"))["alice"].certificate == ""


def test_permissions_change_and_nothing_else() -> None:
    current = users(wanted("alice", csr="csr"))
    made = plan(current, wanted("alice", csr="csr", targets=frozenset({WEB})))
    assert only(made).reasons == ("it may also reach 127.0.0.1:80", "it may no longer reach 127.0.0.1:5432")
    alice = after(made)["alice"]
    assert (alice.uuid, alice.certificate) == (current["alice"].uuid, current["alice"].certificate)
    assert alice.targets == {WEB}


def test_another_key_brings_another_uuid() -> None:
    current = users(wanted("alice", csr="csr"))
    made = plan(current, wanted("alice", 2, csr="csr"), stale={"alice": "it is for another key"})
    assert only(made).reasons == (
        "it has another key, and so another UUID",
        "it gets a certificate: it is for another key",
    )
    assert after(made)["alice"].uuid != current["alice"].uuid
    assert only(made).issue


def test_another_key_without_a_request_ends_the_certificate() -> None:
    made = plan(users(wanted("alice", csr="csr")), wanted("alice", 2))
    assert after(made)["alice"].certificate == ""


def test_a_host_that_was_not_reached_keeps_what_it_has_but_not_what_it_may() -> None:
    current = users(wanted("alice", csr="csr"))
    assert only(plan(current, wanted("alice", None))).kind == "keep"
    narrowed = after(plan(current, wanted("alice", None, targets=frozenset({WEB}))))["alice"]
    assert (narrowed.uuid, narrowed.public_key, narrowed.certificate) == (
        current["alice"].uuid,
        current["alice"].public_key,
        current["alice"].certificate,
    )
    assert narrowed.targets == {WEB}


def test_a_host_that_was_never_reached_is_skipped() -> None:
    made = plan(UserSet(), wanted("alice", None))
    assert (only(made).kind, made.changed) == ("skip", False)
    assert only(made).reasons == ("its host client1 was not reached, so its key is not known yet",)
    assert len(after(made)) == 0


def test_a_certificate_is_made_anew_when_it_no_longer_serves() -> None:
    current = users(wanted("alice", csr="csr"))
    made = plan(current, wanted("alice", csr="csr"), stale={"alice": "half of its life is over"})
    assert only(made).reasons == ("it gets a certificate: half of its life is over",)
    assert only(made).issue
    assert after(made)["alice"].uuid == current["alice"].uuid


@pytest.mark.parametrize(("regenerate", "kind"), [("never", "keep"), ("missing", "change"), ("always", "change")])
def test_regenerate_decides_about_what_is_there(regenerate: Any, kind: str) -> None:
    current = users(wanted("alice", csr="csr"))
    made = plan(
        current, wanted("alice", csr="csr"), policy=Policy("acme", regenerate=regenerate), stale={"alice": "old"}
    )
    assert only(made).kind == kind
    assert (after(made)["alice"].uuid != current["alice"].uuid) == (regenerate == "always")


def test_always_makes_uuid_and_certificate_anew() -> None:
    current = users(wanted("bob", 2), wanted("alice", csr="csr"))
    made = plan(current, wanted("alice", csr="csr"), policy=Policy("acme", regenerate="always"))
    assert only(made).issue
    assert after(made)["alice"].uuid != current["alice"].uuid
    unreached = plan(current, wanted("alice", None), policy=Policy("acme", regenerate="always"))
    assert only(unreached).kind == "keep"


def test_an_absent_user_goes_whoever_made_it() -> None:
    current = users(wanted("alice"), policy=Policy("acme", origin="cli"))
    made = plan(current, DesiredUser("alice", present=False), DesiredUser("bob", present=False))
    assert [action.kind for action in made.actions.values()] == ["delete", "keep"]
    assert len(after(made)) == 0


def test_purge_removes_what_the_same_origin_made() -> None:
    current = UserSet({**users(wanted("alice")), **users(wanted("carol", 3), policy=Policy("acme", origin="cli"))}, 7)
    made = plan(current, wanted("bob", 2))
    assert {name: action.kind for name, action in made.actions.items()} == {"bob": "create", "alice": "delete"}
    assert set(after(made)) == {"bob", "carol"}
    assert set(after(plan(current, wanted("bob", 2), policy=Policy("acme")))) == {"alice", "bob", "carol"}


def test_a_user_of_another_origin_is_taken_over_with_a_word() -> None:
    current = users(wanted("alice"), policy=Policy("acme", origin="cli"))
    made = plan(current, wanted("alice"))
    assert only(made).reasons == ("it is taken over from origin cli",)
    assert after(made)["alice"].uuid == current["alice"].uuid


def test_one_key_for_two_users_is_refused() -> None:
    current = users(wanted("alice"), policy=Policy("acme", origin="cli"))
    with pytest.raises(InvalidInputError) as caught:
        plan(current, wanted("bob", 1))
    assert caught.value.problems == ('users.bob.public_key: is the key of user "alice" too',)
    assert after(plan(current, wanted("bob", 1), DesiredUser("alice", present=False)))["bob"]


def test_the_diff_tells_what_changes_and_masks_secrets() -> None:
    current = users(wanted("alice", csr="csr"), wanted("bob", 2))
    made = plan(current, wanted("alice", 3, csr="csr"), wanted("bob", 2), stale={"alice": "x"})
    before_text, after_text = made.diff()
    assert before_text.startswith("alice:\n  key: SHA256:")
    assert "bob" not in before_text + after_text
    assert "uuid: (another secret)" in after_text
    assert "certificate: (made anew)" in after_text
    for user in (current["alice"], after(made)["alice"]):
        assert user.uuid not in before_text + after_text


NAMES = st.sampled_from(["alice", "bob", "carol", "dave"])
ORDERS = st.builds(
    lambda name, present, number, targets, csr: (
        wanted(name, number, targets=frozenset(targets), csr="csr" if csr and number else None)
        if present
        else DesiredUser(name, present=False)
    ),
    NAMES,
    st.booleans(),
    st.none() | st.integers(1, 40),
    st.sets(samples.TARGETS, min_size=1, max_size=3),
    st.booleans(),
)


@given(st.lists(st.lists(ORDERS, max_size=4), max_size=4), st.sampled_from(["inventory", "cli"]), st.booleans())
def test_any_course_of_orders_ends_as_wanted(rounds: list[list[DesiredUser]], origin: str, purge: bool) -> None:
    current = UserSet()
    for orders in rounds:
        desired = {user.name: user for user in orders}
        policy = Policy("acme", origin=origin, purge=purge)
        before = current
        try:
            made = make_plan(current, desired, policy)
        except InvalidInputError:  # one key for two users: nothing may have happened
            assert current is before
            continue
        current = after(made)
        assert current.generation == before.generation + made.changed
        for user in desired.values():
            if not user.present:
                assert user.name not in current
            elif user.key is not None or user.name in before:
                assert current[user.name].targets == user.targets
                assert user.key is None or current[user.name].public_key == str(user.key)
        for name in set(before) - set(desired):
            assert name in current or (purge and before[name].origin == origin)
        again = make_plan(current, desired, policy)
        assert not again.changed


def test_desired_users_read_from_the_plan_of_the_inventory() -> None:
    found = read_desired(
        {
            "alice": {
                "state": "present",
                "host": "client1",
                "context": "acme",
                "public_key": f"{samples.key()} alice@acme",
                "csr": "text",
                "apps": ["pg"],
                "ports": [80],
                "bridges": [{"name": "pg", "host": "127.0.0.1", "port": 5432, "local_port": 1}, {"port": "80"}],
            },
            "bob": {"state": "absent", "host": None, "bridges": []},
        }
    )
    assert found["alice"].targets == {DB, WEB}
    assert found["alice"].key == samples.key()
    assert not found["bob"].present


def test_what_is_wrong_with_desired_users_is_told_at_once() -> None:
    with pytest.raises(InvalidInputError) as caught:
        read_desired(
            {
                "alice": {"host": "c", "csr": "x", "bridges": [{"port": 0, "host": "a b"}], "nope": 1},
                "bob": {"bridges": []},
                "x\ny": {"state": "absent"},
            }
        )
    assert [problem.split(": ")[0] for problem in caught.value.problems] == [
        "users.alice.nope",
        "users.alice",
        "users.alice.bridges[0].host",
        "users.alice.bridges[0].port",
        "users.bob",
        "users.bob.bridges",
        "users['x\\ny']",
    ]
