"""What the modules refuse, keep to themselves and leave alone."""

from __future__ import annotations

import json
import os

from tests.integration.modules.conftest import Play
from tests.integration.modules.site import (
    PASSPHRASE,
    Made,
    Site,
    fails,
    snapshot,
    told,
    tool,
    weak_key,
)


def test_no_secret_is_told(made: Made) -> None:
    site, results = made.site, made.results
    shown = "".join(told(result) for result in results)
    assert "PRIVATE KEY" not in shown
    secrets = [(site.serve / "vless_uuid"), (site.connect / "acme" / "vless_uuid")]
    secrets += [site.relay / "operators" / name / "vless_uuid" for name in ("primary", "spare")]
    for path in secrets:
        assert path.read_text().strip() not in shown
    for path, result in zip(secrets, (*results[0:1], results[5], results[2], results[2]), strict=True):
        assert path.read_text().strip() not in json.dumps(result)
    assert PASSPHRASE not in json.dumps(results)
    assert "PRIVATE KEY" not in json.dumps(results)


def test_wrong_input_is_told_whole_and_changes_nothing(play: Play, made: Made) -> None:
    site = made.site
    chain = made.results[2]["tenants"]["acme"]["certificate"]
    context = made.results[5]["contexts"]["acme"]
    key = (site.serve / "tls.key").read_text()
    weak = tool("ssh-keygen", "-yf", weak_key(site.root / "weak")).strip()
    before = snapshot(site)
    results = play(
        ("authority", site.authority(passphrase="wrong horse", tenants={})),
        ("authority", site.authority(passphrase="short", tenants={})),
        ("authority", site.authority(relay_name="../../etc", tenants={})),
        ("authority", site.authority(tenants={"operator": {}, "acme": {"csr": key}, "x": {"crs": "x"}})),
        ("tenant", site.tenant(tenant="a/b")),
        ("tenant", site.tenant(tenant="umbrella", ca_certificate=chain)),
        ("tenant", site.tenant(ca_certificate="nonsense")),
        ("tenant", site.tenant(group="nobody-has-this-group")),
        ("users", site.users(tenant="umbrella", users={})),
        (
            "users",
            site.users(
                users={
                    "bob": {"public_key": weak, "ports": [65536]},
                    "eve\nroot": {"state": "absent"},
                    "al": {"public_key": context["ssh_public_key"], "csr": "x", "ports": [5432]},
                }
            ),
        ),
        ("users", site.users(users={"al": {"public_key": context["ssh_public_key"], "csr": key, "ports": [5432]}})),
        ("users", site.users(users={"al": {"public_key": context["ssh_public_key"], "ports": [5432]}})),
        ("contexts", site.prepare(contexts={"serve": {"tenant": "acme", "user": "server"}, "../x": {}})),
        ("contexts", site.prepare(contexts={"acme": {"tenant": "acme", "user": "bob", "certificate": chain}})),
    )
    one_by_one = [[result] for result in results]
    fails(one_by_one[0], "root.key: is not opened by this passphrase")
    fails(one_by_one[1], "passphrase: has less than 8 characters")
    fails(one_by_one[2], 'relay_name: "../../etc" is no host')
    fails(
        one_by_one[3], "tenants.operator: no name", "tenants.acme.csr: is a private key", "tenants.x.crs: unknown key"
    )
    fails(one_by_one[4], "tenant: 'a/b' is no lower-case DNS label")
    fails(one_by_one[5], "ca_certificate: is not for tenant umbrella")
    fails(one_by_one[6], "ca_certificate: holds no certificates")
    fails(one_by_one[7], "group nobody-has-this-group: is not known on this host")
    fails(one_by_one[8], "ca.crt: is not for tenant umbrella")
    fails(
        one_by_one[9],
        "users.bob.public_key: is an RSA key of 1024 bits",
        "users.bob.ports[0]: 65536 is no port",
        "users['eve\\nroot']: no name for a user",
        "users.al.csr: is no certificate request",
        'users.al.public_key: is the key of user "alice" too',
    )
    fails(one_by_one[10], "users.al.csr: is a private key", 'users.al.public_key: is the key of user "alice" too')
    fails(one_by_one[11], 'users.al.public_key: is the key of user "alice" too')
    fails(
        one_by_one[12],
        "contexts.serve: is reserved",
        "contexts.serve.user: no name",
        'contexts["../x"]: no name',
        'contexts["../x"].tenant: nothing is no name',
        'contexts["../x"].user: nothing is no name',
    )
    fails(
        one_by_one[13],
        *(f"contexts.acme.{name}: is missing" for name in ("uuid", "relay", "server_host_keys", "bridges")),
    )
    assert snapshot(site) == before


def test_a_context_takes_no_certificate_of_others(play: Play, made: Made) -> None:
    site = made.site
    before = snapshot(site)
    arguments = site.install()
    arguments["contexts"]["acme"]["relay"] = {"host": "relay.example.com:443", "hots": "x"}
    arguments["contexts"]["acme"]["certificate"] = (site.serve / "tls.crt").read_text()
    arguments["contexts"]["acme"]["server_host_keys"] = ["nonsense"]
    arguments["uuids"]["acme"] = "nonsense"
    fails(
        play(("contexts", arguments)),
        "contexts.acme.certificate: it is for another key",
        "contexts.acme.uuid: holds no UUID",
        "contexts.acme.relay.hots: unknown key",
        "contexts.acme: key 'relay.host'",
    )
    assert snapshot(site) == before


def test_no_link_is_followed_in_the_daemons_folder(play: Play, made: Made) -> None:
    site = made.site
    target = site.root / "shadow"
    target.write_text("untouched")
    site.users_file.parent.chmod(0o777)  # others can put something there
    site.users_file.unlink()
    site.users_file.symlink_to(target)
    fails(play(("users", site.users(users={}))), "users.json: is a link; it is not followed")
    site.users_file.unlink()
    os.link(target, site.users_file)
    fails(play(("users", site.users(users={}))), "users.json: has a second name")
    assert target.read_text() == "untouched"


def test_without_the_agent_check_mode_says_so_and_a_run_fails(site: Site, play: Play) -> None:
    plain = "/usr/bin/python3"
    arguments = [
        ("tenant", site.tenant()),
        ("authority", site.authority(tenants={"acme": {"csr": None}})),
        ("users", site.users(users={"alice": {}})),
        ("contexts", site.prepare()),
    ]
    checked = play(*((*step, {"check_mode": True}) for step in arguments), python=plain)
    assert [(result["changed"], result["agent_missing"]) for result in checked] == [(True, True)] * 4
    assert all("a real run would install it" in result["msg"] for result in checked)
    assert checked[0]["csr"] is None
    assert checked[1]["tenants"] == {"acme": {"certificate": None}}
    assert checked[2]["users"]["alice"]["action"] == "create"
    assert checked[3]["contexts"]["acme"]["ready"] is False
    run = play(*arguments, python=plain)
    assert all(result["failed"] and "Set ansible_python_interpreter" in result["msg"] for result in run)
    assert snapshot(site) == {}
