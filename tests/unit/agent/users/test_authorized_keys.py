"""The line of authorized_keys: what it permits is what OpenSSH and asyncssh take it to permit."""

from __future__ import annotations

import subprocess
from pathlib import Path

import asyncssh
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.agent.users import samples
from tunnel_whisperer.users import authorized_keys
from tunnel_whisperer.users.targets import Target, read_target


@given(samples.ED25519_LINES, st.frozensets(samples.TARGETS, min_size=1, max_size=6), samples.LABELS, samples.LABELS)
def test_a_line_says_what_was_put_in(line: str, targets: frozenset[Target], user: str, tenant: str) -> None:
    key = samples.read_public_key(line)
    built = authorized_keys.build(key, targets, f"{user}@{tenant}")
    assert authorized_keys.parse(built) == authorized_keys.AuthorizedKey(key, targets, f"{user}@{tenant}")
    entry = asyncssh.import_authorized_keys(built)
    options = entry.validate(asyncssh.import_public_key(line), "client", "10.0.0.1")
    assert options is not None
    assert options["permitopen"] == {(target.host, target.port) for target in targets}
    assert set(options) == {"restrict", "port-forwarding", "permitopen"}


def test_openssh_reads_the_line(tmp_path: Path) -> None:
    targets = [Target("127.0.0.1", 5432), Target("::1", 80), Target("db.example", 1)]
    for line in samples.real_lines().values():
        key = samples.read_public_key(line)
        file = tmp_path / "authorized_keys"
        file.write_text(authorized_keys.build(key, targets, "alice@acme") + "\n")
        shown = subprocess.run(["ssh-keygen", "-lf", file], check=True, capture_output=True, text=True).stdout
        assert shown.split()[1:3] == [key.fingerprint, "alice@acme"]


def test_targets_stand_in_one_order_each_once() -> None:
    built = authorized_keys.build(samples.key(), [Target("127.0.0.1", 80), Target("127.0.0.1", 22)] * 2, "a@b")
    assert built.startswith(
        'restrict,port-forwarding,permitopen="127.0.0.1:22",permitopen="127.0.0.1:80" ssh-ed25519 AAAA'
    )


def test_without_a_target_no_line_is_built() -> None:
    with pytest.raises(ValueError, match="at least one target"):
        authorized_keys.build(samples.key(), [], "alice@acme")


@pytest.mark.parametrize(
    "comment", ["alice", "a@b\nssh-rsa AAAA", 'a"@b', "../x@b", "-x", "a b@c", "a@b c", "", "\u0430@b", "a@b\n", "A@b"]
)
def test_hostile_comments_build_no_line(comment: str) -> None:
    with pytest.raises(ValueError, match="no line of the form"):
        authorized_keys.build(samples.key(), [Target("127.0.0.1", 1)], comment)


@pytest.mark.parametrize("host", ["a b", 'x"', "*", "", "..", "a\nb", "-a", "a-", "1.2.3", "%65", "UP"])
def test_hostile_targets_build_no_line(host: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        authorized_keys.build(samples.key(), [Target(host, 1)], "alice@acme")


@pytest.mark.parametrize(
    "options",
    [
        "port-forwarding,restrict",
        "restrict,port-forwarding",
        "restrict",
        'permitopen="127.0.0.1:1"',
        'restrict,port-forwarding,permitopen="127.0.0.1:*"',
        'restrict,port-forwarding,permitopen="127.0.0.1:1",pty',
        'restrict,port-forwarding,permitopen="127.0.0.1:0"',
        'restrict,port-forwarding,permitopen="127.0.0.1:01"',
    ],
)
def test_lines_of_other_forms_are_not_read(options: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        authorized_keys.parse(f"{options} {samples.key()} alice@acme")


@given(samples.TARGETS)
def test_a_target_reads_as_it_is_written(target: Target) -> None:
    assert read_target(str(target)) == target
