"""`tw import`: what a person types, what they are told, and what is refused."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.unit.agent.bundle.samples import (
    PASSPHRASE,
    POSTGRES,
    chain,
    for_enrolment,
    keys,
    sealed,
    sound,
    to_keys,
    to_passphrase,
)
from tests.unit.agent.bundle.test_bundle import LOCKS, NO_FILE, NOT_OURS
from tests.unit.agent.cli.commands import Tw
from tests.unit.agent.client.stage import Stage
from tunnel_whisperer import pki
from tunnel_whisperer.bundle import write
from tunnel_whisperer.config import ConnectConfig
from tunnel_whisperer.errors import RetryableError
from tunnel_whisperer.places import Context

SET_UP = """\
context acme: alice at acme, relay relay.example.com
  bridge postgres: 127.0.0.1:5432 -> 127.0.0.1:5432
  bridge web-8080: 127.0.0.1:8080 -> 127.0.0.1:8080
now type: tw connect acme
"""


def secret(path: Path, content: str | bytes) -> Path:
    """Write a file that only we can read."""
    path.touch(mode=0o600)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a bundle sealed to a key, that key, and an Xray."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "alice.age").write_bytes(sealed())
    secret(tmp_path / "key", keys()[0])
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/xray").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return tmp_path


def test_a_bundle_sealed_to_a_key(stage: Stage, folder: Path, tw: Tw) -> None:
    assert tw("import", "alice.age", "--identity", "key") == SET_UP
    assert (stage.own.contexts / "acme/connect.yml").exists()
    assert tw.err == ""


def test_a_bundle_with_its_passphrase_in_a_file(stage: Stage, folder: Path, tw: Tw) -> None:
    (folder / "bob.age").write_bytes(to_passphrase(write(sound())))
    secret(folder / "secret", f"{PASSPHRASE}\nand notes\n")
    assert tw("import", "bob.age", "--passphrase-file", "secret") == SET_UP


def test_standard_input(stage: Stage, folder: Path, tw: Tw, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(sealed())))
    assert tw("import", "-", "--identity", "key") == SET_UP
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"")))
    assert tw.refused("import", "-", "--identity", "key").startswith("standard input: is empty")


def test_as_json_and_under_another_name(stage: Stage, folder: Path, tw: Tw) -> None:
    told = tw.data("import", "alice.age", "--identity", "key", "--as", "office")
    assert told == {
        "context": "office",
        "place": "own",
        "path": str(stage.own.contexts / "office"),
        "tenant": "acme",
        "user": "alice",
        "relay": "relay.example.com:443",
        "bridges": [
            {"name": "postgres", "local": "127.0.0.1:5432", "target": "127.0.0.1:5432"},
            {"name": "web-8080", "local": "127.0.0.1:8080", "target": "127.0.0.1:8080"},
        ],
        "changed": True,
        "next": "tw connect office",
    }
    again = tw.data("import", "alice.age", "--identity", "key", "--as", "office", "--replace")
    assert again == told | {"changed": False}


def test_root_sets_up_the_systems_context_and_is_told_of_the_unit(
    stage: Stage, folder: Path, tw: Tw, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.be(root=True)
    monkeypatch.setattr("tunnel_whisperer.services._FOLDERS", (folder,))
    (folder / "tw-connect@.service").touch()
    assert tw("import", "alice.age", "--identity", "key").endswith("now type: systemctl enable --now tw-connect@acme\n")
    assert (stage.system.contexts / "acme/connect.yml").exists()


def test_a_name_that_is_taken_is_told_and_replaced_when_asked_to(stage: Stage, folder: Path, tw: Tw) -> None:
    context = stage.context("acme", stage.own)
    said = tw.refused("import", "alice.age", "--identity", "key")
    assert f"{context.directory} is there already; replace it, or name this context otherwise" in said
    assert tw("import", "alice.age", "--identity", "key", "--replace") == SET_UP
    (context.directory / "origin").write_text("inventory\n")
    said = tw.refused("import", "alice.age", "--identity", "key", "--replace")
    assert 'is of origin "inventory"; remove it, or name this context otherwise' in said


def test_a_dry_run_says_what_would_be(stage: Stage, folder: Path, tw: Tw) -> None:
    said = tw("import", "alice.age", "--identity", "key", "--dry-run").splitlines()
    assert said[0] == "would set up context acme: alice at acme, relay relay.example.com"
    assert f"would make {stage.own.contexts / 'acme/tls.key'}" in said
    assert stage.files() == {}
    (folder / "new.age").write_bytes(sealed(for_enrolment()))
    said = tw("import", "new.age", "--identity", "key", "--dry-run")
    assert said == "would enrol context acme: alice at acme, relay relay.example.com\n"


def test_a_missing_xray_is_told(stage: Stage, folder: Path, tw: Tw, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tunnel_whisperer.provision.bundles.DEFAULT_XRAY", folder / "nowhere")
    monkeypatch.setenv("PATH", "")
    assert tw("import", "alice.age", "--identity", "key") == SET_UP
    assert tw.err == f"tw: there is no Xray here yet; it belongs at {folder / 'nowhere'}\n"


def enrolling(failure: Exception | None = None) -> Any:
    async def exchange(_config: ConnectConfig, *, ssh_public_key: str, csr: str) -> Any:
        if failure:
            raise failure
        return SimpleNamespace(uuid=sound().uuid, certificate=chain(pki.read_csr(csr)), bridges=(POSTGRES,))

    return exchange


def test_an_enrolment(stage: Stage, folder: Path, tw: Tw, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "new.age").write_bytes(sealed(for_enrolment()))
    monkeypatch.setattr("tunnel_whisperer.enrolment.over_link", enrolling(RetryableError("the relay is away")))
    said = tw.refused("import", "new.age", "--identity", "key", code=1)
    assert said.startswith("new.age: not enrolled: the relay is away (nothing was set up; try the file again until ")
    assert stage.files() == {}
    monkeypatch.setattr("tunnel_whisperer.enrolment.over_link", enrolling())
    assert tw("import", "new.age", "--identity", "key").splitlines() == [
        "context acme: alice at acme, relay relay.example.com",
        "  bridge postgres: 127.0.0.1:5432 -> 127.0.0.1:5432",
        "now type: tw connect acme",
    ]
    assert (stage.own.contexts / "acme/id_ed25519").read_text() != for_enrolment().ssh_key


def test_an_enrolment_that_is_over(stage: Stage, folder: Path, tw: Tw) -> None:
    (folder / "new.age").write_bytes(sealed(for_enrolment(good_for=timedelta(days=-1))))
    said = tw.refused("import", "new.age", "--identity", "key")
    assert said.startswith("new.age: was good until ")
    assert said.endswith("if that is right, ask for a new one)")


HOSTILE = [(case[0], case[1]) for case in (*NO_FILE, *LOCKS)] + [(case[0], to_keys(case[1])) for case in NOT_OURS]


@pytest.mark.parametrize("data", [case[1] for case in HOSTILE], ids=[case[0] for case in HOSTILE])
def test_a_hostile_file_is_refused_by_name_and_nothing_is_set_up(
    stage: Stage, folder: Path, tw: Tw, data: bytes
) -> None:
    (folder / "evil.age").write_bytes(data)
    secret(folder / "key", "AGE-SECRET-KEY-17CVSXWDYFLH7N70YHHUXEH3T6AM0HY7AHQMSGW550T7ZUJ3SUZNSPKWKHP")
    assert tw.refused("import", "evil.age", "--identity", "key").startswith("evil.age: ")
    assert stage.files() == {}


@pytest.mark.parametrize("name", ["../../etc", "serve", "-x", "a\nb", "", "x" * 33])
def test_a_hostile_name_is_refused(stage: Stage, folder: Path, tw: Tw, name: str) -> None:
    said = tw.refused("import", "alice.age", "--identity", "key", f"--as={name}")
    assert said.startswith("contexts")
    assert stage.files() == {}


def test_files_that_are_not_there_or_open_to_others_are_named(stage: Stage, folder: Path, tw: Tw) -> None:
    assert tw.refused("import", "nothing.age") == "nothing.age: cannot be read: No such file or directory"
    assert tw.refused("import", ".") == ".: cannot be read: Is a directory"
    assert tw.refused("import", "alice.age", "--identity", "nothing") == (
        "nothing: cannot be read: No such file or directory"
    )
    (folder / "key").chmod(0o644)
    said = tw.refused("import", "alice.age", "--identity", "key")
    assert said == "key: holds a secret but has mode 0644 (chmod 0640 key)"
    secret(folder / "secret", "\n")
    said = tw.refused("import", "alice.age", "--passphrase-file", "secret")
    assert said == "secret: has no passphrase in its first line"
    secret(folder / "secret", PASSPHRASE)
    said = tw.refused("import", "alice.age", "--passphrase-file", "secret")
    assert said.startswith("alice.age: is sealed to a key, which no passphrase opens")


def test_without_a_terminal_the_passphrase_is_not_asked_for(
    stage: Stage, folder: Path, tw: Tw, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tunnel_whisperer.cli.asking._has_terminal", lambda: False)
    (folder / "bob.age").write_bytes(to_passphrase(write(sound())))
    assert tw.refused("import", "bob.age") == (
        "no terminal to ask for the passphrase of bob.age at (give it by --passphrase-file FILE)"
    )


def test_a_terminal_is_asked_without_echo(stage: Stage, folder: Path) -> None:
    """The command has a terminal of its own; what is typed there is not seen on it."""
    (folder / "bob.age").write_bytes(to_passphrase(write(sound())))
    mine, theirs = pty.openpty()
    script = (
        "import os, sys; os.setsid(); os.close(os.open(os.ttyname(0), os.O_RDWR));"
        "import tunnel_whisperer.cli as c; sys.exit(c.run(['import', 'bob.age', '--dry-run']))"
    )
    environment = {"HOME": str(stage.home), "PATH": os.environ["PATH"]}
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    ) as process:
        os.close(theirs)
        seen = read_until(mine, b"bob.age: ")
        os.write(mine, f"{PASSPHRASE}\n".encode())
        seen += read_until(mine, b"\n")
        seen += read_rest(mine)
        assert process.wait(20) == 0, seen
    os.close(mine)
    assert b"Passphrase of bob.age: " in seen
    assert b"would set up context acme: alice at acme" in seen
    assert PASSPHRASE.encode() not in seen


def read_until(fd: int, end: bytes) -> bytes:
    seen = b""
    while end not in seen:
        seen += os.read(fd, 4096)
    return seen


def read_rest(fd: int) -> bytes:
    seen = b""
    while True:
        try:
            more = os.read(fd, 4096)
        except OSError:  # all have left the terminal
            return seen
        if not more:
            return seen
        seen += more


def test_the_imported_context_is_found_by_name(stage: Stage, folder: Path, tw: Tw) -> None:
    tw("import", "alice.age", "--identity", "key")
    told = tw.data("context", "show", "acme")
    assert (told["name"], told["place"], told["current"], told["error"]) == ("acme", "own", True, None)
    assert Context("acme", stage.own).file.exists()
