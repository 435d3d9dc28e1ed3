"""The users file: read as it was written, whole, and refused with its place when it is not ours."""

from __future__ import annotations

import json
import stat
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.agent.users import samples
from tunnel_whisperer.errors import ConfigError
from tunnel_whisperer.files import Transaction
from tunnel_whisperer.users import authorized_keys, store
from tunnel_whisperer.users.grants import App, Grant
from tunnel_whisperer.users.model import User, UserSet
from tunnel_whisperer.users.targets import Target

TARGET_SETS = st.frozensets(samples.TARGETS, min_size=1, max_size=4)


def user(
    name: str, line: str | None = None, targets: frozenset[Target] = frozenset({Target("127.0.0.1", 5432)})
) -> User:
    key = samples.read_public_key(line or str(samples.key()))
    grant = Grant(ports=tuple(sorted(targets)), expires=datetime(2027, 1, 31, tzinfo=UTC), comment="naïve")
    return User(
        name, "60ae4c17-055c-4f3e-b0f8-5a56d9c0d49b", authorized_keys.build(key, targets, f"{name}@acme"), grant
    )


@given(
    st.dictionaries(samples.LABELS, st.tuples(samples.ED25519_LINES, TARGET_SETS), max_size=5), st.integers(0, 10**9)
)
def test_users_read_as_they_were_written(made: dict[str, tuple[str, frozenset[Target]]], generation: int) -> None:
    users = UserSet({name: user(name, line, targets) for name, (line, targets) in made.items()}, generation)
    found = store.decode(store.encode(users), Path("/users.json"), store.Snapshot()).users
    assert dict(found) == dict(users)
    assert found.generation == generation
    for name, (line, targets) in made.items():
        assert found[name].public_key == line
        assert found[name].targets == targets
        assert all(found[name].permits(target.host, target.port) for target in targets)


def test_who_has_not_changed_is_not_read_again() -> None:
    apps = {"pg": App("pg", (Target("127.0.0.1", 5432),), {Target("127.0.0.1", 5432): 15432}, "the database", "cli")}
    users = UserSet({"alice": user("alice"), "bob": user("bob", str(samples.key(2)))}, 1, apps)
    first = store.decode(store.encode(users), Path("/users.json"), store.Snapshot())
    assert dict(first.users.apps) == apps
    moved = replace(users["bob"], uuid="0c2b2c1c-7f0e-4ac9-8a3e-3d4b5d5ad6ae")
    second = store.decode(store.encode(UserSet({**users, "bob": moved}, 2, apps)), Path("/users.json"), first)
    assert second.users["alice"] is first.users["alice"]
    assert second.users["bob"] == moved


def test_only_what_is_permitted_is_permitted() -> None:
    alice = user("alice")
    assert alice.permits("127.0.0.1", 5432)
    assert not alice.permits("127.0.0.1", 5433)
    assert not alice.permits("localhost", 5432)


def test_a_missing_file_holds_no_users(tmp_path: Path) -> None:
    assert len(store.load_users(tmp_path / "users.json")) == 0
    assert store.load_users(tmp_path / "no" / "users.json").generation == 0


def test_what_is_saved_is_private_and_can_be_loaded(tmp_path: Path) -> None:
    path = tmp_path / "users.json"
    with Transaction() as transaction:
        assert store.save(transaction, path, UserSet({"alice": user("alice")}, 3), shown=("", "alice\n"))
        assert not path.exists()
        transaction.commit()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert store.load_users(path).generation == 3


def broken(change: object) -> bytes:
    document = json.loads(store.encode(UserSet({"alice": user("alice")}, 1)))
    if callable(change):
        change(document)
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is no JSON"),
        (b"{", "is no JSON"),
        (b"[]", "is no users file"),
        (broken(lambda d: d.update(version=2)), "has version 2 .*reads version 1"),
        (broken(lambda d: d.update(generation="1")), "has no generation"),
        (broken(lambda d: d["users"].update(bob=[])), 'user "bob" does not have exactly the fields'),
        (broken(lambda d: d["users"]["alice"].update(more=1)), 'user "alice" does not have exactly the fields'),
        (broken(lambda d: d["users"]["alice"].update(uuid=None)), 'user "alice" has no text in uuid'),
        (broken(lambda d: d["users"]["alice"].update(apps="pg")), 'a wrong grant: .*"pg" is no list'),
        (broken(lambda d: d["users"]["alice"].update(ports=[80])), "an authorized_key that does not fit"),
        (broken(lambda d: d["users"]["alice"].update(enrolment="soon")), '"soon" is no date'),
        (broken(lambda d: d["apps"].update(pg={})), 'app "pg" does not have exactly the fields'),
        (broken(lambda d: d["users"]["alice"].update(authorized_key="x")), "has an authorized_key that is no line"),
    ],
)
def test_a_damaged_file_is_refused_with_its_name(content: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "users.json"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=f"^{path}: .*{reason}"):
        store.load_users(path)
