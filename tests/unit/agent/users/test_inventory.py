"""The inventory as a whole: everything wrong is told at once and in its place; what is right reaches both ends."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.agent.users import samples
from tunnel_whisperer.problems import InvalidInputError
from tunnel_whisperer.users.inventory import Inventory, resolve

APPS = {"postgres": {"ports": [5432], "description": "the database"}, "web": {"ports": [80, "443"]}}
SERVERS = {"server1": {"tenant": "acme", "relay": "relay1"}, "server2": {"tenant": "umbrella", "relay": "relay1"}}


def inventory(users: object, **changed: Any) -> Inventory:
    given_parts: dict[str, Any] = {
        "apps": APPS,
        "servers": SERVERS,
        "client_hosts": ("client1", "client2"),
        "relay_hosts": ("relay1",),
        **changed,
    }
    return Inventory(users=users, **given_parts)


def problems(users: object, **changed: Any) -> list[str]:
    with pytest.raises(InvalidInputError) as caught:
        resolve(inventory(users, **changed))
    return list(caught.value.problems)


def alice(**changed: Any) -> dict[str, Any]:
    return {"alice": {"tenant": "acme", "apps": ["postgres"], "host": "client1", **changed}}


def test_a_user_reaches_its_server_and_its_client() -> None:
    found = resolve(inventory(alice(apps=["web", "postgres"], ports=[8080, "80"], local_ports={"5432": 15432})))
    bridges = [
        {"name": "web-80", "host": "127.0.0.1", "port": 80, "local_port": 80},
        {"name": "web-443", "host": "127.0.0.1", "port": 443, "local_port": 443},
        {"name": "postgres", "host": "127.0.0.1", "port": 5432, "local_port": 15432},
        {"name": "port-8080", "host": "127.0.0.1", "port": 8080, "local_port": 8080},
    ]
    assert found["tenants"]["acme"]["server"] == "server1"
    assert found["tenants"]["acme"]["relay"] == "relay1"
    assert found["tenants"]["acme"]["users"]["alice"] == {
        "state": "present",
        "host": "client1",
        "context": "acme",
        "public_key": None,
        "csr": None,
        "bundle": None,
        "apps": ["web", "postgres"],
        "ports": [8080, 80],
        "local_ports": {"5432": 15432},
        "not_before": None,
        "expires": None,
        "single_session": "off",
        "comment": "",
    }
    assert found["tenants"]["acme"]["apps"]["web"] == {
        "ports": [80, 443],
        "host": "127.0.0.1",
        "local_ports": {},
        "description": "",
    }
    assert found["tenants"]["umbrella"]["users"] == {}
    assert found["clients"] == {
        "client1": {
            "acme": {"tenant": "acme", "user": "alice", "server": "server1", "relay": "relay1", "bridges": bridges}
        },
        "client2": {},
    }


def test_a_user_with_a_key_of_its_own_needs_no_host() -> None:
    found = resolve(inventory(alice(host=None, public_key=f"{samples.key()} alice@laptop")))
    assert found["tenants"]["acme"]["users"]["alice"]["public_key"] == str(samples.key())
    assert found["clients"] == {"client1": {}, "client2": {}}


def test_an_absent_user_is_told_to_the_server_only() -> None:
    found = resolve(inventory({"alice": {"tenant": "acme", "state": "absent"}}))
    assert found["tenants"]["acme"]["users"]["alice"]["state"] == "absent"
    assert found["clients"]["client1"] == {}


def test_nothing_declared_is_fine() -> None:
    assert resolve(Inventory(None, None, {}, (), ())) == {"tenants": {}, "clients": {}}


def test_the_only_relay_need_not_be_named() -> None:
    found = resolve(inventory({}, servers={"server1": {"tenant": "acme", "relay": None}}))
    assert found["tenants"]["acme"]["relay"] == "relay1"


USER_FAULTS = {
    "unknown app": (
        {"apps": ["web", "postgre"]},
        'tw_users.alice.apps[1]: unknown app "postgre" (did you mean "postgres"? known: postgres, web)',
    ),
    "app twice": ({"apps": ["web", "web"]}, 'tw_users.alice.apps[1]: app "web" is there already'),
    "apps no list": ({"apps": "web"}, 'tw_users.alice.apps: "web" is no list'),
    "typo in a key": ({"prots": [1]}, 'tw_users.alice.prots: unknown key (did you mean "ports"?'),
    "typo in the state": ({"state": "presnt"}, 'tw_users.alice.state: unknown state "presnt" (did you mean "present"?'),
    "port zero": ({"ports": [0]}, "tw_users.alice.ports[0]: 0 is no port; accepted: a whole number from 1 to 65535"),
    "port too large": ({"ports": [1, 65536]}, "tw_users.alice.ports[1]: 65536 is no port"),
    "port true": ({"ports": [True]}, "tw_users.alice.ports[0]: True is no port"),
    "port in words": ({"ports": ["80-90"]}, 'tw_users.alice.ports[0]: "80-90" is no port'),
    "port in other digits": ({"ports": ["\u0668\u0660"]}, "tw_users.alice.ports[0]: '\\u0668\\u0660' is no port"),
    "port twice": (
        {"ports": [80, "80"]},
        "tw_users.alice.ports[1]: port 80 is there already, as tw_users.alice.ports[0]",
    ),
    "nothing to reach": ({"apps": []}, "tw_users.alice: needs at least one of apps and ports"),
    "tenant missing": ({"tenant": None}, "tw_users.alice.tenant: is missing; known: acme, umbrella"),
    "tenant unknown": ({"tenant": "acne"}, 'tw_users.alice.tenant: unknown tenant "acne" (did you mean "acme"?'),
    "tenant a list": ({"tenant": ["acme"]}, "tw_users.alice.tenant: unknown tenant ['acme']"),
    "host unknown": (
        {"host": "client"},
        'tw_users.alice.host: unknown host of tw_clients "client" (did you mean "client',
    ),
    "no host, no key": (
        {"host": None},
        "tw_users.alice: needs host (a host of tw_clients, which makes its own key), bundle, or",
    ),
    "host and key": ({"public_key": str(samples.key())}, "tw_users.alice: has both host and public_key"),
    "key no key": ({"public_key": "x", "host": None}, "tw_users.alice.public_key: is of type 'x'"),
    "local port of no port": (
        {"local_ports": {1: 2}},
        "tw_users.alice.local_ports.1: 1 is not among the ports; known: 5432",
    ),
    "local port no port": ({"local_ports": {5432: -1}}, "tw_users.alice.local_ports.5432: -1 is no port"),
    "context no name": (
        {"context": "../x"},
        "tw_users.alice.context: no name for a context: '../x' is no lower-case DNS",
    ),
    "context reserved": ({"context": "serve"}, 'tw_users.alice.context: "serve" is reserved'),
}


@pytest.mark.parametrize("case", USER_FAULTS)
def test_a_wrong_field_is_named(case: str) -> None:
    changed, expected = USER_FAULTS[case]
    found = problems(alice(**changed))
    assert len(found) == 1
    assert found[0].startswith(expected)


@pytest.mark.parametrize(
    "name", ["a\nb", "..", "a/b", 'a"b', "-a", "a b", "\u0430lice", "x" * 10_000, "Alice", "server", "", 7, None, True]
)
def test_a_hostile_name_is_refused_in_one_short_line(name: object) -> None:
    for users, kind in (({name: alice()["alice"]}, "tw_users"), (alice(), "tw_apps")):
        apps = APPS if kind == "tw_users" else {**APPS, name: {"ports": [1]}}
        if (kind, name) == ("tw_apps", "server"):
            continue  # an app may be called so
        found = problems(users, apps=apps)
        assert len(found) == 1
        assert found[0].startswith(kind)
        assert found[0].isprintable()
        assert len(found[0]) < 350


def test_everything_is_told_at_once() -> None:
    users = {"alice": {"tenant": "nobody", "ports": [0]}, "bob": [], "carol": {"tenant": "acme", "hosts": "client1"}}
    found = problems(users, apps={"web": {}, "db": {"ports": [70000], "description": 3}})
    assert [line.split(": ")[0] for line in found] == [
        "tw_apps.web.ports",
        "tw_apps.db.ports[0]",
        "tw_apps.db.description",
        "tw_users.alice.tenant",
        "tw_users.alice",
        "tw_users.alice.ports[0]",
        "tw_users.bob",
        "tw_users.bob.tenant",
        "tw_users.bob",
        "tw_users.bob",
        "tw_users.carol.hosts",
        "tw_users.carol",
        "tw_users.carol",
    ]


@pytest.mark.parametrize(
    ("servers", "expected"),
    [
        ({"s": {"tenant": "operator"}}, "s.server_tenant: no name for a tenant: 'operator' is reserved"),
        ({"s": {"tenant": "x" * 25}}, f"s.server_tenant: no name for a tenant: '{'x' * 25}' has 25 characters"),
        ({"s": {}}, "s.server_tenant: nothing is no name"),
        ({"s": {"tenant": "a", "relay": "relay2"}}, 's.server_relay: unknown host of tw_relays "relay2" (did you mean'),
        ({"s": {"tenant": "a"}, "t": {"tenant": "a"}}, 't.server_tenant: tenant "a" has a server already: s'),
    ],
)
def test_a_wrong_server_is_named(servers: object, expected: str) -> None:
    found = problems({}, servers=servers)
    assert len(found) == 1
    assert found[0].startswith(expected)


def test_with_several_relays_each_server_names_its_own() -> None:
    found = problems({}, servers={"s": {"tenant": "a"}}, relay_hosts=("r1", "r2"))
    assert found == ["s.server_relay: is missing; hosts of tw_relays: r1, r2"]


def test_two_users_may_not_share_a_key_in_one_tenant() -> None:
    shared = {"public_key": str(samples.key()), "host": None}
    users = {**alice(**shared), "bob": alice(**shared)["alice"]}
    assert problems(users) == ['tw_users.bob.public_key: is the key of user "alice" too']
    users["bob"] = {**users["bob"], "tenant": "umbrella"}
    resolve(inventory(users))


def test_contexts_and_local_ports_of_a_host_must_differ() -> None:
    users = {**alice(), "bob": alice()["alice"]}
    context, port = problems(users)
    assert context == (
        'tw_users.bob.context: "acme" on client1 is the context of user "alice"; give one of them another'
    )
    assert port == (
        'tw_users.bob: local port 5432 of bridge "postgres" is taken on client1 by bridge "postgres" of user "alice"; '
        "choose another under local_ports"
    )
    users["bob"] = {**users["bob"], "context": "bob", "local_ports": {5432: 15432}}
    resolve(inventory(users))
    users["bob"] = alice(host="client2")["alice"]
    resolve(inventory(users))


def test_two_local_ports_of_one_user_must_differ() -> None:
    found = problems(alice(apps=["web"], local_ports={80: 443}))
    assert len(found) == 1
    assert "ports 80 and 443 would both be at local port 443; choose others" in found[0]


def test_bridges_that_would_share_a_name_are_refused() -> None:
    found = problems(alice(apps=["web", "web-80"]), apps={**APPS, "web-80": {"ports": [81]}})
    assert found == ['tw_users.alice: two bridges would be called "web-80" (ports 80 and 81); rename an app']


def test_a_group_gives_its_apps_and_ports_to_its_users() -> None:
    groups = {"staff": {"apps": ["web"], "ports": [8080], "description": "everybody"}}
    found = resolve(inventory(alice(groups=["staff"], ports=[8080]), groups=groups))
    told = found["tenants"]["acme"]["users"]["alice"]
    assert (told["apps"], told["ports"]) == (["postgres", "web"], [8080])
    assert problems(alice(groups=["staf"]), groups=groups) == [
        'tw_users.alice.groups[0]: unknown group "staf" (did you mean "staff"? known: staff)'
    ]
    assert problems({}, groups={"staff": {"apps": ["w"]}}) == [
        'tw_groups.staff.apps[0]: unknown app "w" (known: postgres, web)'
    ]


def test_hosts_behind_the_server_have_to_be_declared() -> None:
    apps = {"lan": {"ports": [80], "host": "web.lan"}}
    servers = {"server1": {"tenant": "acme", "target_hosts": ["web.lan"]}, "server2": {"tenant": "umbrella"}}
    found = resolve(inventory(alice(apps=["lan"]), apps=apps, servers=servers))
    assert found["clients"]["client1"]["acme"]["bridges"] == [
        {"name": "lan", "host": "web.lan", "port": 80, "local_port": 80}
    ]
    assert (list(found["tenants"]["acme"]["apps"]), list(found["tenants"]["umbrella"]["apps"])) == (["lan"], [])
    assert problems(alice(tenant="umbrella", apps=["lan"]), apps=apps, servers=servers) == [
        'tw_users.alice: host "web.lan" is not declared for this server (server_target_hosts: none)'
    ]


def test_an_app_suggests_where_its_ports_appear_and_a_user_may_differ() -> None:
    apps = {"postgres": {"ports": [5432], "local_ports": {5432: 15432}}}
    local = [
        resolve(inventory(alice(**more), apps=apps))["clients"]["client1"]["acme"]["bridges"][0]["local_port"]
        for more in ({}, {"local_ports": {5432: 25432}})
    ]
    assert local == [15432, 25432]


def test_a_bundle_is_told_to_its_server_and_is_the_one_way_to_its_users_credentials() -> None:
    wish = alice(host=None, bundle={"to": str(samples.key()), "hours": 24})
    told = resolve(inventory(wish))["tenants"]["acme"]["users"]["alice"]
    assert told["bundle"] == {"kind": "enrolment", "to": str(samples.key()), "hours": 24}
    (said,) = problems(alice(bundle={"to": str(samples.key())}))
    assert said == "tw_users.alice: has bundle beside host or public_key; one way to its credentials is enough"


def test_a_bundle_is_made_anew_for_who_has_one() -> None:
    users = {**alice(), "bob": {"tenant": "umbrella", "apps": ["web"], "bundle": {}}}
    found = resolve(inventory(users, renew_bundles=["bob"]))["tenants"]
    assert (found["acme"]["renew_bundles"], found["umbrella"]["renew_bundles"]) == ([], ["bob"])
    assert problems(users, renew_bundles=["bbo", "alice", "bob", "bob"]) == [
        'tw_renew_bundles[0]: unknown user "bbo" (did you mean "bob"? known: alice, bob)',
        'tw_renew_bundles[3]: user "bob" is there already, as tw_renew_bundles[2]',
        'tw_renew_bundles: user "alice" has no bundle',
    ]
    assert problems(users, renew_bundles="bob") == ['tw_renew_bundles: "bob" is no list']


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = ["tenant", "groups", "apps", "ports", "host", "public_key", "bundle", "local_ports", "context", "state"]
FIELDS += ["expires", "not_before", "single_session", "comment", "x"]
ODD_USERS = JUNK | st.dictionaries(st.text(max_size=6), st.dictionaries(st.sampled_from(FIELDS), JUNK), max_size=3)


@given(ODD_USERS, JUNK, JUNK, JUNK, JUNK)
def test_whatever_is_given_the_answer_is_a_plan_or_a_list_of_lines(
    users: object, apps: object, servers: object, groups: object, renewals: object
) -> None:
    lines: tuple[str, ...] = ()
    try:
        resolve(Inventory(apps, users, servers, ("client1",), ("relay1",), groups, renewals))
    except InvalidInputError as error:
        lines = error.problems
    assert all(line.isprintable() and len(line) < 700 for line in lines)
