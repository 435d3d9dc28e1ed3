"""`tw user` and `tw app`: what an operator does at the server, what it is told, and what is refused."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
import yaml

from tests.unit.agent.bundle.samples import keys
from tests.unit.agent.cli.commands import Tw
from tests.unit.agent.provision.world import World
from tests.unit.agent.users import samples
from tunnel_whisperer import bundle
from tunnel_whisperer.cli import asking, orders


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A server with a signed authority; the configuration of its daemon."""
    world = World(tmp_path)
    tenant = world.tenant()
    world.tenant(world.authority(tenant.csr).tenants["acme"])
    config = tmp_path / "serve.yml"
    settings = {
        "tenant": "acme",
        "relay": {"host": "relay.example.com"},
        "relay_host_keys": [str(samples.key())],
        "identity_dir": str(tmp_path / "serve"),
        "users_file": str(tmp_path / "users.json"),
        "target_hosts": ["db.lan"],
    }
    config.write_text(yaml.safe_dump(settings))
    monkeypatch.setattr(orders, "utcnow", lambda: world.now)
    monkeypatch.chdir(tmp_path)
    return config


def key_file(folder: Path, number: int = 1) -> str:
    path = folder / f"{number}.pub"
    path.write_text(f"{samples.key(number)} somebody\n")
    return str(path)


def test_a_user_is_added_shown_changed_and_removed(server: Path, tw: Tw) -> None:
    config = ("--config", str(server))
    key = key_file(server.parent)
    assert "no apps yet" in tw("app", "list", *config)
    tw("app", "add", "postgres", "--port", "5432", "--local-port", "5432:15432", "--description", "Orders", *config)
    told = tw("user", "add", "dora", "--app", "postgres", "--public-key", key, "--expires", "2026-01-31", *config)
    assert told == "dora: create (it is new)\n"
    found = tw.data("user", "list", *config)["users"]["dora"]
    assert (found["state"], found["targets"], found["origin"]) == ("active", ["127.0.0.1:5432"], "cli")
    assert found["expires"] == "2026-02-01T00:00:00Z"
    assert "127.0.0.1:5432" in tw("user", "show", "dora", *config)

    told = tw("user", "edit", "dora", "--port", "db.lan:80", "--expires", "30d", *config)
    assert "it may also reach db.lan:80; its access ends on 2026-01-31T00:00:00Z" in told
    told = tw("app", "edit", "postgres", "--port", "5433", *config)
    assert told == "dora: change (it may also reach 127.0.0.1:5433; it may no longer reach 127.0.0.1:5432)\n"
    assert tw("user", "edit", "dora", "--port", "db.lan:80", *config) == "nothing changed\n"

    assert 'apps.postgres: is still given to user "dora"' in tw.refused("app", "remove", "postgres", "--yes", *config)
    assert "dora: delete" in tw("user", "remove", "dora", "--yes", *config)
    tw("app", "remove", "postgres", "--yes", *config)
    assert tw.data("app", "list", *config) == {"apps": {}}


def test_a_dry_run_shows_a_diff_without_secrets_and_changes_nothing(server: Path, tw: Tw) -> None:
    config = ("--config", str(server))
    told = tw("user", "add", "dora", "--port", "80", "--dry-run", *config)
    assert "+dora:" in told
    assert "+  uuid: (secret)" in told
    assert tw.data("user", "list", *config)["users"] == {}
    assert list(server.parent.glob("*.age")) == []


def test_the_file_of_a_new_user_is_sealed_and_private_and_made_once(server: Path, tw: Tw) -> None:
    config = ("--config", str(server))
    private, public = keys()
    opener = private.encode()
    told = tw("user", "add", "dora", "--port", "80", "--to", public, "--valid", "24h", *config)
    path = server.parent / "acme-dora.age"
    assert "acme-dora.age: for dora, opened by the key it is sealed to, until 2026-01-02 00:00 UTC" in told
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    made = bundle.unseal(path.read_bytes(), identities=[opener], where="dora")
    assert (made.kind, made.user, made.relay.host) == ("enrolment", "dora", "relay.example.com")
    assert "is there already" in tw.refused("user", "export", "dora", "--to", public, "--yes", *config)
    tw("user", "export", "dora", "--to", public, "--yes", "--with-keys", "--out", "new.age", *config)
    lasting = bundle.unseal((server.parent / "new.age").read_bytes(), identities=[opener], where="dora")
    assert (lasting.kind, lasting.uuid == made.uuid) == ("identity", False)


def test_a_file_that_cannot_be_written_admits_nobody(server: Path, tw: Tw) -> None:
    config = ("--config", str(server))
    _private, public = keys()
    missing = server.parent / "nowhere" / "dora.age"
    told = tw.refused("user", "add", "dora", "--port", "80", "--to", public, "--out", str(missing), *config)
    assert str(missing.parent) in told
    (server.parent / "acme-dora.age").write_text("somebody's")
    assert "is there already" in tw.refused("user", "add", "dora", "--port", "80", "--to", public, *config)
    assert (server.parent / "acme-dora.age").read_text() == "somebody's"
    assert tw.data("user", "list", *config)["users"] == {}


def test_what_destroys_is_asked_for_and_needs_a_yes_without_a_terminal(
    server: Path, tw: Tw, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = ("--config", str(server))
    tw("user", "add", "dora", "--port", "80", "--public-key", key_file(server.parent), *config)
    monkeypatch.setattr(asking.sys.stdin, "isatty", lambda: False, raising=False)
    assert "say yes beforehand: --yes" in tw.refused("user", "remove", "dora", *config)
    assert "dora" in tw.data("user", "list", *config)["users"]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["user", "add", "Dora", "--port", "80"], "no name for a user: 'Dora'"),
        (["user", "add", "../dora", "--port", "80"], "no name for a user: '../dora'"),
        (["user", "add", "dora\n", "--port", "80"], "no lower-case DNS label"),
        (["user", "add", "dora"], "needs at least one of apps and ports"),
        (["user", "add", "dora", "--port", "0"], "0"),
        (["user", "add", "dora", "--port", "other.lan:80"], 'host "other.lan" is not declared'),
        (["user", "add", "dora", "--app", "postgrse"], 'unknown app "postgrse"'),
        (["user", "add", "dora", "--port", "80", "--expires", "2020-01-01"], "is past; give a later one"),
        (["user", "add", "dora", "--port", "80", "--expires", "soon"], '"soon" is no span of time'),
        (["user", "add", "dora", "--port", "80", "--local-port", "80"], "'80' is no pair"),
        (["user", "edit", "nobody", "--port", "80"], "there is no user 'nobody'"),
        (["app", "add", "pg", "--port", "5432", "--host", "other.lan"], 'host "other.lan" is not declared'),
        (["app", "add", "pg"], "accepted: a list with at least one port"),
        (["app", "remove", "pg", "--yes"], "there is no app 'pg'"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(server: Path, tw: Tw, words: list[str], complaint: str) -> None:
    key = ["--public-key", key_file(server.parent)] if words[:2] == ["user", "add"] else []
    assert complaint in tw.refused(*words, *key, "--config", str(server))
    assert tw.data("user", "list", "--config", str(server)) == {"users": {}, "generation": 0}


def test_without_a_server_there_is_nothing_to_look_after(tmp_path: Path, tw: Tw) -> None:
    assert "there is no server on this host" in tw.refused("user", "list", "--config", str(tmp_path / "serve.yml"))
