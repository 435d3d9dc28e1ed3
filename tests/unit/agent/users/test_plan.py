"""The plan: every user ends as wanted, for a reason that is told, and nobody else is touched."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.agent.users import samples
from tunnel_whisperer.problems import InvalidInputError, Problems
from tunnel_whisperer.users.desired import BundleWish, DesiredUser, read_desired
from tunnel_whisperer.users.grants import App, Grant
from tunnel_whisperer.users.model import UserSet
from tunnel_whisperer.users.plan import Making, Plan, Policy, make_plan
from tunnel_whisperer.users.targets import Target

DB = Target("127.0.0.1", 5432)
WEB = Target("127.0.0.1", 80)
POLICY = Policy("acme", purge=True)
NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
APPS = {"pg": App("pg", (DB,)), "web": App("web", (WEB,))}


def wanted(
    name: str,
    number: int | None = 1,
    *,
    targets: frozenset[Target] = frozenset({DB}),
    csr: str | None = None,
    **grant: Any,
) -> DesiredUser:
    key = None if number is None else samples.key(number)
    return DesiredUser(name, grant=Grant(ports=tuple(sorted(targets)), **grant), host="client1", key=key, csr=csr)


NUMBERS = count(1)


def new_uuid(_name: str) -> str:
    return f"00000000-0000-4000-8000-{next(NUMBERS):012d}"


def plan(
    current: UserSet,
    *desired: DesiredUser,
    policy: Policy = POLICY,
    stale: dict[str, str] | None = None,
    apps: dict[str, App] | None = None,
    now: datetime = NOW,
) -> Plan:
    making = Making(now, new_uuid, lambda name: str(samples.key(90 + len(name))))
    return make_plan(current, {user.name: user for user in desired}, policy, making, apps=apps, stale=stale)


def after(made: Plan) -> UserSet:
    return made.outcome(lambda name: f"certificate of {name}")


def users(*desired: DesiredUser, policy: Policy = POLICY) -> UserSet:
    return after(plan(UserSet(), *desired, policy=policy))


def only(made: Plan) -> Any:
    (action,) = made.actions.values()
    return action


def test_a_new_user_is_made() -> None:
    made = plan(UserSet(), wanted("alice", csr="csr", apps=("pg",)), apps=APPS)
    assert (only(made).kind, only(made).reasons) == ("create", ("it is new",))
    alice = after(made)["alice"]
    assert alice.uuid.startswith("00000000-0000-4000-8000-")
    assert alice.authorized_key.endswith(f'permitopen="{DB}" {samples.key()} alice@acme')
    assert (alice.certificate, alice.grant.apps, alice.origin) == ("certificate of alice", ("pg",), "inventory")
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
            made = make_plan(current, desired, policy, Making(NOW))
        except InvalidInputError:  # one key for two users: nothing may have happened
            assert current is before
            continue
        current = after(made)
        assert current.generation == before.generation + made.changed
        for user in desired.values():
            if not user.present:
                assert user.name not in current
            elif user.key is not None or user.name in before:
                assert current[user.name].targets == user.grant.targets({})
                assert user.key is None or current[user.name].public_key == str(user.key)
        for name in set(before) - set(desired):
            assert name in current or (purge and before[name].origin == origin)
        again = make_plan(current, desired, policy, Making(NOW))
        assert not again.changed


def test_desired_users_read_from_the_plan_of_the_inventory() -> None:
    found = read_desired(
        problems := Problems(),
        {
            "alice": {
                "state": "present",
                "host": "client1",
                "context": "acme",
                "public_key": f"{samples.key()} alice@acme",
                "csr": "text",
                "bundle": None,
                "apps": ["pg"],
                "ports": [80],
                "local_ports": {"80": 8080},
                "expires": "2027-01-31",
                "single_session": "off",
            },
            "bob": {"state": "absent", "host": None},
        },
        APPS,
    )
    problems.check()
    assert found["alice"].grant.targets(APPS) == {DB, WEB}
    assert found["alice"].grant.expires == datetime(2027, 2, 1, tzinfo=UTC)
    assert found["alice"].key == samples.key()
    assert not found["bob"].present


def test_what_is_wrong_with_desired_users_is_told_at_once() -> None:
    problems = Problems()
    read_desired(
        problems,
        {
            "alice": {"host": "c", "csr": "x", "ports": ["other.example:80", 0], "nope": 1},
            "bob": {"public_key": str(samples.key()), "bundle": {"kind": "key", "hours": 0, "to": "age1x"}},
            "x\ny": {"state": "absent"},
        },
        APPS,
    )
    with pytest.raises(InvalidInputError) as caught:
        problems.check()
    assert [problem.split(": ")[0] for problem in caught.value.problems] == [
        "users.alice.nope",
        "users.alice",
        "users.alice.ports[1]",
        "users.alice",
        "users.bob.bundle.kind",
        "users.bob.bundle.hours",
        "users.bob.bundle.to",
        "users.bob",
        "users.bob",
        "users['x\\ny']",
    ]
    assert 'host "other.example" is not declared for this server' in caught.value.problems[3]


def test_another_host_serves_where_the_operator_declared_it() -> None:
    found = read_desired(problems := Problems(), {"a": {"host": "c", "ports": ["db.lan:80"]}}, {}, hosts=["db.lan"])
    problems.check()
    assert found["a"].grant.targets({}) == {Target("db.lan", 80)}


def test_a_new_date_lies_ahead_and_one_that_has_passed_stays() -> None:
    ends = NOW + timedelta(days=1)
    current = users(wanted("alice", expires=ends))
    later = plan(current, wanted("alice", expires=ends), now=ends + timedelta(days=1))
    assert only(later).kind == "keep"
    assert only(later).reasons == ("its access ended on 2026-11-26T12:00:00Z",)
    with pytest.raises(InvalidInputError) as caught:
        plan(current, wanted("alice", expires=NOW), wanted("bob", 2, expires=NOW))
    assert caught.value.problems == (
        "users.alice.expires: 2026-11-25T12:00:00Z is past; give a later one, or state absent",
        "users.bob.expires: 2026-11-25T12:00:00Z is past; give a later one, or state absent",
    )


def test_users_are_in_force_between_their_dates_and_time_alone_changes_who() -> None:
    begin, end = NOW + timedelta(hours=1), NOW + timedelta(hours=2)
    found = users(wanted("alice", not_before=begin, expires=end), wanted("bob", 2))
    assert [set(found.active(at)) for at in (NOW, begin, end)] == [{"bob"}, {"alice", "bob"}, {"bob"}]
    assert [found.next_change(at) for at in (NOW, begin, end)] == [begin, end, None]


def test_users_follow_an_app_that_changes_though_nobody_mentioned_them() -> None:
    policy = Policy("acme")
    current = after(plan(UserSet(), wanted("alice", targets=frozenset(), apps=("pg",)), apps=APPS, policy=policy))
    moved = plan(current, policy=policy, apps={"pg": App("pg", (WEB,))})
    assert only(moved).reasons == ("it may also reach 127.0.0.1:80", "it may no longer reach 127.0.0.1:5432")
    assert after(moved)["alice"].targets == {WEB}
    assert set(after(moved).apps) == {"pg", "web"}
    with pytest.raises(InvalidInputError, match=r'apps\.pg: is still given to user "alice"'):
        plan(UserSet({"alice": replace(current["alice"], origin="cli")}, 1, current.apps), apps={})


def test_a_user_with_a_bundle_gets_a_key_and_some_time_to_enrol() -> None:
    wish = DesiredUser("dora", grant=Grant(ports=(DB,)), bundle=BundleWish(hours=2))
    made = plan(UserSet(), wish)
    assert (only(made).kind, only(made).bundle, only(made).issue) == ("create", True, False)
    current = after(made)
    dora = current["dora"]
    assert dora.enrolment == NOW + timedelta(hours=2)
    assert dora.active(NOW)
    assert not dora.permits(DB.host, DB.port), "it has to enrol first"
    assert only(plan(current, wish)).kind == "keep"

    later = NOW + timedelta(hours=3)
    assert not dora.active(later)
    assert "ran out unused" in only(plan(current, wish, now=later)).reasons[0]
    again = only(plan(current, wish, now=later, policy=Policy("acme", renew=frozenset({"dora"}))))
    assert (again.kind, again.bundle) == ("change", True)
    assert again.after.enrolment == later + timedelta(hours=2)
    assert again.after.uuid != dora.uuid


def test_a_bundle_with_lasting_keys_has_a_certificate_at_once() -> None:
    made = plan(UserSet(), DesiredUser("dora", grant=Grant(ports=(DB,)), bundle=BundleWish(kind="identity")))
    assert (only(made).bundle, only(made).issue) == (True, True)
    dora = after(made)["dora"]
    assert (dora.enrolment, dora.certificate) == (None, "certificate of dora")
    assert dora.permits(DB.host, DB.port)
