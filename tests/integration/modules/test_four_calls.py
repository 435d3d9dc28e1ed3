"""The modules, each in four calls (check, run, check, run), judged by ssh-keygen, openssl and the agent itself."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.integration.modules.conftest import Play
from tests.integration.modules.site import (
    PASSPHRASE,
    Made,
    Result,
    Site,
    modes,
    new_key,
    told,
    tool,
    verify,
)

FourCalls = Callable[[str, dict[str, Any]], list[Result]]


def test_tenant(four_calls: FourCalls, site: Site) -> None:
    results = four_calls("tenant", site.tenant(secrets=True))
    assert results[1]["certified"] is False
    assert modes(site.root / "serve") == {
        "ca.key": "640",
        "id_ed25519": "640",
        "id_ed25519.pub": "644",
        "ssh_host_ed25519_key": "640",
        "ssh_host_ed25519_key.pub": "644",
        "tls.key": "640",
        "vless_uuid": "640",
    }
    for name, key in (("id_ed25519", "ssh_public_key"), ("ssh_host_ed25519_key", "host_public_key")):
        private, public = site.serve / name, site.serve / f"{name}.pub"
        private.chmod(0o600)
        assert tool("ssh-keygen", "-lf", private).split()[1] == tool("ssh-keygen", "-lf", public).split()[1]
        assert public.read_text().strip() == results[1][key] == results[3][key]
    tool("openssl", "req", "-verify", "-noout", given=results[3]["csr"])
    assert results[1]["uuid"] == results[3]["uuid"] == (site.serve / "vless_uuid").read_text().strip()


def test_authority(four_calls: FourCalls, site: Site, play: Play) -> None:
    (tenant,) = play(("tenant", site.tenant()))
    arguments = site.authority(tenants={"acme": {"csr": tenant["csr"]}, "umbrella": {}}, secrets=True)
    results = four_calls("authority", arguments)
    assert results[1]["operators"] == results[3]["operators"]
    assert results[1]["tenants"] == results[3]["tenants"]
    assert results[3]["tenants"]["umbrella"] == {"certificate": None}
    assert modes(site.control) == {
        "relays": "700",
        "relays/relay.example.com": "700",
        "relays/relay.example.com/operators": "700",
        "relays/relay.example.com/root.crt": "644",
        "relays/relay.example.com/root.key": "600",
        "relays/relay.example.com/tenants": "700",
        "relays/relay.example.com/tenants/acme.crt": "644",
        **{
            f"relays/relay.example.com/operators/{name}{file}": mode
            for name in ("primary", "spare")
            for file, mode in (("", "700"), ("/tls.crt", "644"), ("/tls.key", "600"), ("/vless_uuid", "600"))
        },
    }
    for name in ("primary", "spare"):
        verify(site.relay / "root.crt", site.relay / "operators" / name / "tls.crt")
    tool("openssl", "verify", "-x509_strict", "-CAfile", site.relay / "root.crt", site.relay / "tenants" / "acme.crt")
    tool("openssl", "pkey", "-in", site.relay / "root.key", "-passin", f"pass:{PASSPHRASE}", "-noout")
    again = play(("authority", {**arguments, "tenants": {"acme": {}}}))
    assert (again[0]["changed"], again[0]["tenants"]["acme"]) == (False, results[3]["tenants"]["acme"])


def test_tenant_with_its_certificate(four_calls: FourCalls, site: Site, play: Play) -> None:
    *_, authority = play(("tenant", site.tenant(), {"register": "tenant"}), ("authority", site.authority()))
    chain = authority["tenants"]["acme"]["certificate"]
    results = four_calls("tenant", site.tenant(ca_certificate=chain))
    assert results[3]["certified"] is True
    verify(site.relay / "root.crt", site.serve / "tls.crt")
    assert (site.serve / "ca.crt").read_text() == chain
    (without,) = play(("tenant", site.tenant()))
    assert (without["changed"], without["certified"]) == (False, True)


def test_users(four_calls: FourCalls, site: Site, play: Play) -> None:
    before = play(*site.steps()[:4])
    key, csr = (before[1]["contexts"]["acme"][name] for name in ("ssh_public_key", "csr"))
    bob = tool("ssh-keygen", "-yf", new_key(site.root / "bob")).strip()
    users = {
        "alice": {"host": "client1", "public_key": key, "csr": csr, "apps": ["postgres"]},
        "bob": {"public_key": bob, "ports": [80]},
        "carol": {"host": "client2", "apps": ["postgres"]},
        "dave": {"state": "absent"},
    }
    results = four_calls("users", site.users(users=users, purge=True))
    kinds = [{name: user["action"] for name, user in result["users"].items()} for result in results]
    assert kinds[0] == kinds[1] == {"alice": "create", "bob": "create", "carol": "skip", "dave": "keep"}
    assert kinds[2] == kinds[3] == {"alice": "keep", "bob": "keep", "carol": "skip", "dave": "keep"}
    assert results[1]["uuids"] == results[3]["uuids"]
    assert results[3]["users"]["bob"]["certificate"] is None
    assert modes(site.users_file.parent) == {"users.json": "600"}
    kept = json.loads(site.users_file.read_text())["users"]
    for name, line in (("alice", key), ("bob", bob)):
        file = site.root / "line"
        file.write_text(kept[name]["authorized_key"] + "\n")
        shown = tool("ssh-keygen", "-lf", file).split()
        (site.root / "line").write_text(line + "\n")
        assert shown[1:3] == [tool("ssh-keygen", "-lf", file).split()[1], f"{name}@acme"]
    chain = site.root / "chain.pem"
    chain.write_text(results[3]["users"]["alice"]["certificate"])
    verify(site.relay / "root.crt", chain)


def test_contexts(four_calls: FourCalls, site: Site, play: Play) -> None:
    prepared = four_calls("contexts", site.prepare())
    assert prepared[3]["contexts"]["acme"]["ready"] is False
    assert prepared[1]["contexts"]["acme"]["ssh_public_key"] == prepared[3]["contexts"]["acme"]["ssh_public_key"]
    before = play(*site.steps()[:5])
    arguments = site.install()
    acme = arguments["contexts"]["acme"]
    acme["certificate"] = before[4]["users"]["alice"]["certificate"]
    arguments["uuids"] = {"acme": before[4]["uuids"]["alice"]}
    acme["relay"]["roots"] = before[2]["root_certificate"]
    acme["server_host_keys"] = [before[0]["host_public_key"]]
    results = four_calls("contexts", arguments)
    assert results[3]["contexts"]["acme"] == {**results[3]["contexts"]["acme"], "ready": True, "changed": False}
    assert modes(site.connect) == {
        "acme": "750",
        "acme/connect.yml": "640",
        "acme/id_ed25519": "640",
        "acme/id_ed25519.pub": "644",
        "acme/origin": "644",
        "acme/relay_roots.pem": "644",
        "acme/tls.crt": "644",
        "acme/tls.key": "640",
        "acme/vless_uuid": "640",
    }
    tool(Path(sys.executable).with_name("tw"), "check-config", site.connect / "acme" / "connect.yml")
    verify(site.relay / "root.crt", site.connect / "acme" / "tls.crt")
    (without,) = play(("contexts", site.prepare()))
    assert (without["changed"], without["contexts"]["acme"]["ready"]) == (False, True)


def test_contexts_are_purged_by_those_who_made_them(play: Play, made: Made) -> None:
    site = made.site
    (site.connect / "theirs").mkdir()
    (site.connect / "theirs" / "connect.yml").write_text("x\n")
    (site.connect / "README").write_text("not a context\n")
    other = {"other": {"tenant": "acme", "user": "bob"}}
    results = play(
        ("contexts", site.prepare(contexts=other, purge=True), {"check_mode": True}),
        ("contexts", site.prepare(contexts=other, purge=True)),
        ("contexts", site.prepare(contexts=other, purge=True)),
        ("contexts", site.prepare(contexts={"theirs": {"tenant": "acme", "user": "bob"}})),
    )
    assert [result.get("purged") for result in results] == [["acme"], ["acme"], [], None]
    assert [result["changed"] for result in results] == [True, True, False, False]
    assert "is of origin" in results[3]["msg"]
    assert sorted(path.name for path in site.connect.iterdir()) == ["README", "other", "theirs"]


def test_wrong_modes_are_mended_and_told(play: Play, made: Made) -> None:
    site = made.site
    wrong = [site.serve / "ca.key", site.users_file, site.connect / "acme" / "tls.key", site.relay / "root.key"]
    for path in wrong:
        path.chmod(0o666)
    site.serve.chmod(0o777)
    results = play(*site.steps())
    assert [result["changed"] for result in results] == [True, True, True, False, True, False]
    assert [oct(path.stat().st_mode & 0o777) for path in wrong] == ["0o640", "0o600", "0o640", "0o600"]
    assert site.serve.stat().st_mode & 0o777 == 0o750
    assert "mode: 0666" in told(results[0])
    assert "mode: 0640" in told(results[0])
    assert [result["changed"] for result in play(*site.steps())] == [False] * 6


def test_users_come_go_and_change_alone(play: Play, made: Made) -> None:
    site = made.site
    before = made.results[4]
    steps = [*site.steps()[:4]]
    unreached = {"alice": {"host": "client1", "apps": ["postgres"], "ports": [80]}}
    results = play(
        *steps,
        ("users", site.users(users=unreached, purge=True)),
        ("users", site.users(users={"alice": {"state": "absent"}})),
        ("users", site.users(users={"alice": {"state": "absent"}})),
    )[4:]
    assert [result["changed"] for result in results] == [True, True, False]
    assert results[0]["users"]["alice"]["reasons"] == ["it may also reach 127.0.0.1:80"]
    assert results[0]["uuids"] == before["uuids"]
    assert results[0]["users"]["alice"]["certificate"] == before["users"]["alice"]["certificate"]
    assert [result["generation"] for result in results] == [2, 3, 3]


def test_plan(play: Play) -> None:
    users = {"alice": {"tenant": "acme", "apps": ["web"], "host": "client1"}}
    arguments = {
        "apps": {"web": {"ports": [80]}},
        "users": users,
        "servers": {"server1": {"tenant": "acme"}},
        "client_hosts": ["client1"],
        "relay_hosts": ["relay1"],
    }
    wrong = {**arguments, "users": {"alice": {**users["alice"], "apps": ["wbe"]}, "bob": None}}
    good, checked, bad = play(("plan", arguments), ("plan", arguments, {"check_mode": True}), ("plan", wrong))
    assert good["clients"]["client1"]["acme"]["bridges"] == [
        {"name": "web", "host": "127.0.0.1", "port": 80, "local_port": 80}
    ]
    assert {**good, "invocation": None} == {**checked, "invocation": None}
    assert not good["changed"]
    assert bad["failed"]
    assert 'tw_users.alice.apps[0]: unknown app "wbe" (did you mean "web"? known: web)' in bad["msg"]
    assert len(bad["problems"]) == 4
