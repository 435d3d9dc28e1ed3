"""A relay's authority, a tenant, a user and a context through their years: what is due is renewed, the rest stays."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from tests.unit.agent.provision.world import START, World, result
from tunnel_whisperer import identity, pki
from tunnel_whisperer.errors import ConfigError
from tunnel_whisperer.identity import Identity
from tunnel_whisperer.problems import InvalidInputError


def test_what_the_engine_writes_the_daemons_read(world: World) -> None:
    told = result(world.users(world.alice()))
    world.contexts(**world.final(told))
    for folder in ("serve", "connect/acme"):
        found = Identity(world.root / folder)
        found.check_tls()
        assert found.ssh_key().get_algorithm() == "ssh-ed25519"
        assert len(found.tls_certificates()) == 2
    assert Identity(world.root / "connect/acme").uuid() == told["uuid"]
    assert Identity(world.root / "serve").ssh_host_key().get_algorithm() == "ssh-ed25519"
    Identity(world.root / "control/relays/relay.example.com/operators/primary").check_tls()


def test_a_servers_certificate_is_renewed_at_half_its_life(world: World) -> None:
    first = world.leaf("serve")
    world.now += timedelta(days=44)
    world.tenant()
    assert world.changed() == []
    world.now += timedelta(days=2)
    world.tenant()
    assert world.changed() == ["serve/tls.crt"]
    assert world.leaf("serve") != first
    assert world.leaf("serve").public_key() == first.public_key()


def test_a_users_certificate_is_renewed_at_half_its_life_when_its_host_asks(world: World) -> None:
    alice = world.alice()
    first = result(world.users(alice))
    world.now += timedelta(days=46)
    unreached = {"alice": {"host": "client1", "ports": [5432]}}
    assert result(world.users(unreached))["action"] == "keep"
    renewed = result(world.users(alice))
    assert renewed["reasons"] == ["it gets a certificate: half of its life is over"]
    assert renewed["uuid"] == first["uuid"]
    assert renewed["certificate"] != first["certificate"]


def test_an_intermediate_is_renewed_at_half_its_life(world: World) -> None:
    world.now += timedelta(days=5 * 365 - 1)
    world.authority(None)
    assert "control/relays/relay.example.com/tenants/acme.crt" not in world.changed()
    world.now += timedelta(days=2)
    signed = world.authority(None).tenants["acme"]
    assert "control/relays/relay.example.com/tenants/acme.crt" in world.changed()
    assert world.tenant(signed).certified


def test_what_an_intermediate_signed_goes_on_when_it_is_renewed(world: World) -> None:
    alice = world.alice()
    first, server = result(world.users(alice)), world.leaf("serve")
    (world.root / "control/relays/relay.example.com/tenants/acme.crt").unlink()
    world.certify()
    assert world.changed() == ["serve/ca.crt", "serve/tls.crt"]
    assert world.leaf("serve") == server
    again = result(world.users(alice))
    leaf, intermediate = pki.read_certificates(again["certificate"])
    assert again["action"] == "keep"
    assert [leaf] == list(pki.read_certificates(first["certificate"])[:1])
    assert intermediate != pki.read_certificates(first["certificate"])[1]
    assert intermediate == Identity(world.root / "serve").tls_certificates()[1]


def test_an_operators_certificate_outlives_a_quiet_year_and_is_renewed(world: World) -> None:
    folder = "control/relays/relay.example.com/operators/primary"
    first = world.leaf(folder)
    world.now += timedelta(days=365)
    world.authority(None)
    assert world.leaf(folder) == first
    world.now += timedelta(days=200)
    world.authority(None)
    assert world.leaf(folder) != first


def test_a_new_authority_brings_new_leaves(world: World) -> None:
    alice = world.alice()
    first = result(world.users(alice))
    (world.root / "serve" / identity.CA_KEY).unlink()
    assert not world.tenant().certified
    with pytest.raises(ConfigError, match=r"ca\.crt: is for another key than this host's"):
        world.users(alice)
    world.certify()
    again = result(world.users(alice))
    assert again["reasons"] == ["it gets a certificate: it is of another authority"]
    assert again["uuid"] == first["uuid"]


def test_a_tenant_that_is_renamed_needs_a_new_certificate(world: World) -> None:
    world.tenant_name = "umbrella"
    assert not world.tenant().certified
    world.certify()
    assert pki.describe(world.leaf("serve")).startswith("certificate of server.umbrella.tw.internal")


def test_a_dry_run_before_the_authority_is_there_tells_what_would_be(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.tenant()
    alice = world.alice()
    with pytest.raises(ConfigError, match="holds no signed authority yet"):
        world.users(alice)
    told = result(world.users(alice, pretend=True))
    assert (told["action"], told["certificate"]) == ("create", None)
    assert not (tmp_path / "users.json").exists()


def test_another_host_for_a_user_makes_the_former_one_useless(world: World) -> None:
    first = result(world.users(world.alice()))
    for file in ("id_ed25519", "tls.key"):
        (world.root / "connect" / "acme" / file).unlink()
    second = result(world.users(world.alice()))
    assert second["reasons"] == [
        "it has another key, and so another UUID",
        "it gets a certificate: it is for another key",
    ]
    assert second["uuid"] != first["uuid"]


def test_a_damaged_certificate_is_made_again_and_a_damaged_key_is_not(world: World) -> None:
    (world.root / "serve" / "tls.crt").write_text("x")
    world.tenant()
    assert world.changed() == ["serve/tls.crt"]
    for name, reason in (
        ("tls.key", "is no private key"),
        ("id_ed25519", "is no private SSH key"),
        ("vless_uuid", "holds no UUID"),
    ):
        path = world.root / "serve" / name
        good = path.read_bytes()
        path.write_text("x")
        with pytest.raises(ConfigError, match=f"^{path}: {reason}.*remove it to have a new one made"):
            world.tenant()
        path.write_bytes(good)


def test_a_damaged_certificate_in_the_users_file_is_made_again(world: World) -> None:
    alice = world.alice()
    world.users(alice)
    path = world.root / "users.json"
    path.write_text(path.read_text().replace("BEGIN CERTIFICATE", "BEGIN NONSENSE"))
    assert result(world.users(alice))["reasons"] == [
        "it gets a certificate: the one it has holds no certificates in PEM form"
    ]


@pytest.mark.parametrize("missing", ["root.key", "root.crt"])
def test_a_lost_half_of_the_root_is_not_replaced(world: World, missing: str) -> None:
    (world.root / "control/relays/relay.example.com" / missing).unlink()
    with pytest.raises(ConfigError, match=f"{missing}: is missing .put it back from a backup"):
        world.authority(None)


def test_a_root_of_another_key_is_refused(world: World) -> None:
    other = pki.make_root(START)
    (world.root / "control/relays/relay.example.com/root.crt").write_text(pki.pem(other.certificate))
    with pytest.raises(ConfigError, match=r"root\.crt: is not for the key in root\.key"):
        world.authority(None)


def test_a_context_takes_a_certificate_that_is_due_but_none_that_has_expired(world: World) -> None:
    told = result(world.users(world.alice()))
    world.now += timedelta(days=80)
    assert world.contexts(**world.final(told)).contexts["acme"].ready
    world.now += timedelta(days=11)
    with pytest.raises(InvalidInputError, match="certificate: it has expired"):
        world.contexts(**world.final(told))


def test_roots_of_the_relay_come_and_go(world: World) -> None:
    told = result(world.users(world.alice()))
    roots = pki.pem(pki.make_root(START).certificate)
    world.contexts(**world.final(told, relay={"host": "relay.example.com", "roots": roots}))
    assert (world.root / "connect/acme/relay_roots.pem").read_text() == roots
    world.contexts(**world.final(told))
    assert world.changed() == ["connect/acme/relay_roots.pem", "connect/acme/connect.yml"]
    assert not (world.root / "connect/acme/relay_roots.pem").exists()


def test_a_context_is_checked_by_the_agent_before_it_lands(world: World) -> None:
    told = result(world.users(world.alice()))
    before = {path.name for path in (world.root / "connect/acme").iterdir()}
    bridges = [{"name": "a", "port": 1, "local_port": 7}, {"name": "b", "port": 2, "local_port": 7}]
    with pytest.raises(InvalidInputError, match=r"contexts\.acme: key 'bridges"):
        world.contexts(**world.final(told, bridges=bridges))
    with pytest.raises(InvalidInputError, match=r"relay\.roots: holds no certificates"):
        world.contexts(**world.final(told, relay={"host": "relay.example.com", "roots": "x"}))
    with pytest.raises(InvalidInputError, match=r"contexts\.acme\.certificate: holds no certificates"):
        world.contexts(**world.final(told, certificate="x"))
    assert {path.name for path in (world.root / "connect/acme").iterdir()} == before
