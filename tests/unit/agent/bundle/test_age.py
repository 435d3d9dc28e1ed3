"""What seals a file, what opens it, and that neither holds up anybody."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import pytest

from tests.unit.agent.bundle.samples import PASSPHRASE, keys, sound, to_passphrase
from tests.unit.agent.users.samples import real_lines
from tunnel_whisperer import age
from tunnel_whisperer.bundle import seal, unseal, write
from tunnel_whisperer.errors import ConfigError, RetryableError


async def test_a_passphrase_is_worked_on_without_holding_up_the_loop(no_leaks: None) -> None:
    """Sealing takes seconds, in which the loop goes round all the time."""
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    ticking = asyncio.create_task(tick())
    began = asyncio.get_running_loop().time()
    sealed = await asyncio.to_thread(seal, sound(), passphrase=PASSPHRASE)
    assert await asyncio.to_thread(unseal, sealed, passphrase=PASSPHRASE) == sound()
    took = asyncio.get_running_loop().time() - began
    ticking.cancel()
    await asyncio.gather(ticking, return_exceptions=True)
    assert took > 0.2
    assert ticks > took * 10


def test_nobody_sees_the_passphrase_in_the_list_of_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []
    real = subprocess.run

    def spy(command: list[str], **more: object) -> object:
        seen.append(command)
        return real(command, **more)  # type: ignore[call-overload]  # handed through as it came

    monkeypatch.setattr(subprocess, "run", spy)
    assert age.decrypt(to_passphrase(b"x"), passphrase=PASSPHRASE, where="f") == b"x"
    assert len(seen) == 1
    assert PASSPHRASE not in " ".join(seen[0])


def ssh_key(folder: Path, kind: str, passphrase: str = "") -> tuple[str, bytes]:
    path = folder / kind
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-f", path], check=True)
    return path.with_suffix(".pub").read_text(), path.read_bytes()


@pytest.mark.parametrize("kind", ["ed25519", "rsa"])
def test_ssh_keys_open_what_was_sealed_to_them(tmp_path: Path, kind: str) -> None:
    public, private = ssh_key(tmp_path, kind)
    sealed = age.encrypt(b"x", recipients=[public, keys()[1]])
    assert age.decrypt(sealed, identities=[private], where="f") == b"x"
    assert age.decrypt(sealed, identities=[b"# a comment\n\n" + keys()[0].encode()], where="f") == b"x"


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ("", "recipient: is empty"),
        ("age1xyz", 'recipient: "age1xyz" is none that age can seal to'),
        (keys()[0], "recipient: is a private key; give the public one, which begins with age1"),
        (real_lines()["ecdsa-sha2-nistp256"], "is none that age can seal to"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----", "recipient: is a private key; give the public one"),
        ("ssh-ed25519 AAAA", "recipient: is cut short"),
        ("x" * 5000, "recipient: has 5000 characters; no public key is that long"),
    ],
)
def test_a_recipient_that_will_not_do(given: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        seal(sound(), recipients=[given])
    assert complaint in str(caught.value)
    assert str(caught.value).endswith("(accepted: age1..., or an SSH public key of type ssh-ed25519 or ssh-rsa)")


@pytest.mark.parametrize(("passphrase", "recipients"), [(None, []), (PASSPHRASE, [keys()[1]])])
def test_exactly_one_way_is_taken(passphrase: str | None, recipients: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"sealed to a passphrase or to public keys .give exactly one of them"):
        seal(sound(), passphrase=passphrase, recipients=recipients)


def test_a_short_passphrase_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^passphrase: has less than 12 characters"):
        seal(sound(), passphrase="short horse")


@pytest.mark.parametrize("content", [b"", b"\xff", b"AGE-SECRET-KEY-1QQ", b"-----BEGIN OPENSSH PRIVATE KEY-----\nx"])
def test_what_is_no_identity_is_named(content: bytes) -> None:
    with pytest.raises(
        ConfigError, match=r"^identity: holds no private key that opens age files .accepted: an age key"
    ):
        age.read_identities(content)


def test_a_protected_ssh_key_is_named(tmp_path: Path) -> None:
    _, private = ssh_key(tmp_path, "ed25519", "a passphrase")
    with pytest.raises(ConfigError, match=r"is protected by a passphrase of its own .ssh-keygen -p -f"):
        age.read_identities(private)


def test_a_worker_that_is_killed_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    killed = subprocess.CompletedProcess([], -9, b"", b"")
    monkeypatch.setattr(subprocess, "run", lambda *_args, **_more: killed)
    with pytest.raises(RetryableError, match=r"could not be done here .it takes up to 1 GiB of memory"):
        age.encrypt(write(sound()), passphrase=PASSPHRASE)
