"""Users with bundles, as their module makes them and their owners open them; what is told of them, and what is not."""

from __future__ import annotations

import base64
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyrage
import pytest

from tests.integration.modules.conftest import Play
from tests.integration.modules.site import Made, Result, Site, fails, modes, new_key, snapshot, tool
from tests.unit.agent.users.hostile import KEYS, NAMES, PORTS, TERMS
from tunnel_whisperer import bundle, pki
from tunnel_whisperer.bundle import Bundle

FourCalls = Callable[[str, dict[str, Any]], list[Result]]

PASSPHRASE = "five words that nobody says"
OLD_SECRETS = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|PRIVATE KEY")
RELAY = {"host": "relay.example.com", "port": 8443, "profile": "h1", "links": 3}


class People:
    """Three persons who get bundles: bob has an age key, carol an SSH key, dora a passphrase."""

    def __init__(self, folder: Path) -> None:
        self.bob = pyrage.x25519.Identity.generate()
        self.carol = new_key(folder / "carol")
        self.users: dict[str, Any] = {
            "bob": {"apps": ["postgres"], "bundle": {"to": str(self.bob.to_public())}, "context": "orders"},
            "carol": {
                "ports": [80, 443],
                "local_ports": {"80": 8080, "443": 8443},
                "bundle": {"kind": "identity", "to": tool("ssh-keygen", "-yf", self.carol).strip()},
                "expires": "2099-01-31",
            },
            "dora": {"apps": ["postgres"], "bundle": {"hours": 24}},
        }

    def open(self, result: Result, name: str) -> Bundle:
        data = base64.b64decode(result["bundles"][name], validate=True)
        if name == "dora":
            return bundle.unseal(data, passphrase=PASSPHRASE)
        key = str(self.bob).encode() if name == "bob" else self.carol.read_bytes()
        return bundle.unseal(data, identities=[key])


@pytest.fixture
def people(tmp_path_factory: pytest.TempPathFactory) -> People:
    return People(tmp_path_factory.mktemp("people"))


def asked(site: Site, people: People, **more: Any) -> dict[str, Any]:
    base = {"users": people.users, "relay": RELAY, "passphrases": {"dora": PASSPHRASE}, "return_uuids": False}
    return site.users(**{**base, **more})


def told_secrets(result: object) -> list[str]:
    return OLD_SECRETS.findall(json.dumps(result))


def test_bundles_in_four_calls(four_calls: FourCalls, site: Site, play: Play, people: People) -> None:
    before = play(*site.steps()[:4])
    results = four_calls("users", asked(site, people, purge=True))
    assert [result["bundles"] for result in (results[0], results[2], results[3])] == [
        dict.fromkeys(people.users),
        {},
        {},
    ]
    made = results[1]
    told = {name: made["users"][name]["bundle"] for name in people.users}
    assert {name: (its["kind"], its["lock"]) for name, its in told.items()} == {
        "bob": ("enrolment", "keys"),
        "carol": ("identity", "keys"),
        "dora": ("enrolment", "passphrase"),
    }
    kept = json.loads(site.users_file.read_text())["users"]
    host_key = before[3]["host_public_key"].rsplit(" ", 1)[0]
    for name in people.users:
        opened = people.open(made, name)
        assert (opened.tenant, opened.user, opened.uuid) == ("acme", name, kept[name]["uuid"])
        assert (opened.relay.host, opened.relay.port, opened.relay.profile, opened.relay.links) == tuple(RELAY.values())
        assert opened.server_host_keys == (host_key,)
        assert pki.ssh_public_line(opened.ssh_key.encode(), "x").split()[1] in kept[name]["authorized_key"]
        assert opened.until is not None
        assert told[name]["until"] == opened.until.strftime("%Y-%m-%dT%H:%M:%SZ")
        leaf, behind = pki.read_certificates(opened.tls_chain)
        leaf.verify_directly_issued_by(behind)
        assert leaf.not_valid_after_utc >= opened.until.replace(microsecond=0)
    assert people.open(made, "bob").context == "orders"
    carol = people.open(made, "carol")
    assert [(bridge.port, bridge.local_port) for bridge in carol.bridges] == [(80, 8080), (443, 8443)]
    assert kept["carol"]["certificate"] == pki.pem(pki.read_certificates(carol.tls_chain)[0])
    assert kept["bob"]["enrolment"] == told["bob"]["until"]
    assert modes(site.users_file.parent) == {"users.json": "600"}


def test_a_bundle_is_made_anew_only_when_asked_for(play: Play, made: Made, people: People) -> None:
    site = made.site
    bob = {"bob": people.users["bob"]}
    first, again, checked, renewed, after = play(
        ("users", asked(site, people, users=bob)),
        ("users", asked(site, people, users=bob)),
        ("users", asked(site, people, users=bob, renew_bundles=["bob"]), {"check_mode": True}),
        ("users", asked(site, people, users=bob, renew_bundles=["bob"])),
        ("users", asked(site, people, users=bob)),
    )
    assert [result["changed"] for result in (first, again, checked, renewed, after)] == [True, False, True, True, False]
    assert checked["users"]["bob"]["reasons"] == renewed["users"]["bob"]["reasons"]
    assert renewed["users"]["bob"]["reasons"] == ["it gets a new bundle; what it had does not serve any more"]
    assert people.open(first, "bob").uuid != people.open(renewed, "bob").uuid


def test_nothing_secret_is_told_or_logged(play: Play, made: Made, people: People, tmp_path: Path) -> None:
    """What Ansible writes into the host's journal is caught on its way there."""
    site, journal = made.site, tmp_path / "journal"
    (tmp_path / "sitecustomize.py").write_text(
        f"import syslog\nsyslog.syslog = lambda *said: open({str(journal)!r}, 'a').write(f'{{said[-1]}}\\n')\n"
    )
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    install = site.install()
    install["uuids"] = {"acme": (site.connect / "acme" / "vless_uuid").read_text().strip()}
    install["contexts"]["acme"] |= {
        "certificate": (site.connect / "acme" / "tls.crt").read_text(),
        "relay": {"host": "relay.example.com", "links": 4},
        "server_host_keys": [(site.serve / "ssh_host_ed25519_key.pub").read_text()],
    }
    results = play(
        ("users", asked(site, people)),
        ("users", asked(site, people, renew_bundles=["dora"])),
        ("users", asked(site, people, users={"bob": {"ports": [0], "bundle": {}}})),
        ("users_info", {"users_file": str(site.users_file)}),
        ("contexts", install),
        ("contexts", {**install, "nope": install["contexts"]}),
        python=python,
        verbose=True,
    )
    assert [bool(result.get("failed")) for result in results] == [False, False, True, False, False, True]
    written = journal.read_text()
    assert written.count("Invoked with") == 5
    assert "tenant=acme" in written
    for said in (written, json.dumps(results)):
        assert OLD_SECRETS.findall(said) == []
        assert PASSPHRASE not in said
    assert results[0]["invocation"]["module_args"]["users"] == "(3 items)"


def test_users_info_tells_who_may_what_and_whether(play: Play, made: Made, people: People) -> None:
    site = made.site
    elsewhere = str(site.root / "none.json")
    users = {
        **people.users,
        "erin": {"public_key": tool("ssh-keygen", "-yf", new_key(site.root / "erin")).strip(), "ports": [22]},
        "later": {"bundle": people.users["bob"]["bundle"], "ports": [1], "not_before": "2098-01-01"},
    }
    _, found, some, none, checked = play(
        ("users", asked(site, people, users=users)),
        ("users_info", {"users_file": str(site.users_file)}),
        ("users_info", {"users_file": str(site.users_file), "users": ["erin", "nobody"]}),
        ("users_info", {"users_file": elsewhere}),
        ("users_info", {"users_file": str(site.users_file)}, {"check_mode": True}),
    )
    states = {name: user["state"] for name, user in found["users"].items()}
    assert {name: state for name, state in states.items() if not state.startswith("to enrol until ")} == {
        "alice": "active",
        "carol": "active",
        "erin": "active",
        "later": "not yet",
    }
    assert [name for name, user in found["users"].items() if user["active"]] == ["alice", "carol", "erin"]
    carol = found["users"]["carol"]
    assert (carol["targets"], carol["expires"]) == (["127.0.0.1:80", "127.0.0.1:443"], "2099-02-01T00:00:00Z")
    assert carol["key"].startswith("SHA256:")
    assert carol["certificate_until"] > "2026"
    assert (found["users"]["erin"]["certificate_until"], found["users"]["erin"]["origin"]) == (None, "inventory")
    assert found["apps"]["postgres"]["users"] == ["alice", "bob", "dora"]
    assert list(some["users"]) == ["erin"]
    assert (none["users"], none["apps"], none["generation"]) == ({}, {}, 0)
    assert {**checked, "invocation": None} == {**found, "invocation": None}
    assert not any(result["changed"] for result in (found, some, none))
    assert told_secrets(found) == []


def test_hostile_users_are_refused_whole_and_by_name(play: Play, made: Made, people: People) -> None:
    site = made.site
    before = snapshot(site)
    apps = {"pg": {"ports": [5432]}}
    users: dict[str, Any] = {}
    lines = []
    texts = [bad for bad in NAMES if all(isinstance(name, str) for name in bad.users)]
    for index, bad in enumerate([*texts, *KEYS[:-1], *PORTS, *TERMS[:-1]]):
        for name, fields in bad.users.items():
            users[f"user{index}" if name == "bob" else name] = fields
            lines.append(bad.line.replace("users.bob", f"users.user{index}"))
    bundles = {
        "a": {"ports": [80], "bundle": {}},
        "b": {"ports": [80], "bundle": {"to": "age1" + "q" * 58}},
        "c": {"ports": [80], "bundle": {}},
    }
    results = play(
        ("users", asked(site, people, users=users, apps=apps), {"check_mode": True}),
        ("users", asked(site, people, users=users, apps=apps)),
        (
            "users",
            asked(site, people, users=bundles, passphrases={"c": "short"}, relay=None, renew_bundles=["cc", "alice"]),
        ),
        ("users", asked(site, people, users=bundles, relay={"host": "a b"}, passphrases={"a": PASSPHRASE})),
        ("users", asked(site, people, relay={"host": "not a host"})),
        ("users", asked(site, people, passphrases={"dora": 1})),
    )
    for result in results[:2]:
        assert [line for line in lines if not any(said.startswith(line) for said in result["problems"])] == []
    fails(
        results[2:3],
        'renew_bundles: unknown user "alice"',
        'renew_bundles: unknown user "cc" (did you mean "c"?',
        "users.a.bundle: nothing to seal it with is given",
        "users.b.bundle.to: ",
        "passphrases.c: has less than 12 characters",
        "relay: is missing; bundles are to be made now for: a, b, c",
    )
    assert [result["problems"] for result in results[4:]] == [
        ['relay.host: "not a host" is no host; accepted: a host name or an IP address'],
        ["passphrases.dora: is no text; put it in quotes"],
    ]
    assert all(result.get("failed") and not result["changed"] for result in results)
    assert snapshot(site) == before
