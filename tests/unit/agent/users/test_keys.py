"""Public keys: accepted is what OpenSSH and asyncssh accept and is strong; all else is refused with its reason."""

from __future__ import annotations

import subprocess
from pathlib import Path

import asyncssh
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.agent.users import samples
from tunnel_whisperer.users.keys import ACCEPTED, read_public_key


def test_every_accepted_kind_reads_as_openssh_and_asyncssh_read_it(tmp_path: Path) -> None:
    lines = samples.real_lines()
    assert set(lines) == set(ACCEPTED)
    for kind, line in lines.items():
        key = read_public_key(f"{line} alice@laptop\n")
        assert (key.type, str(key)) == (kind, line)
        file = tmp_path / "key.pub"
        file.write_text(f"{key}\n")
        shown = subprocess.run(["ssh-keygen", "-lf", file], check=True, capture_output=True, text=True).stdout
        assert shown.split()[1] == key.fingerprint
        assert asyncssh.import_public_key(str(key)).get_fingerprint() == key.fingerprint


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "is no text"),
        (7, "is no text"),
        ("", "is empty"),
        ("ssh-ed25519", "ends after its type"),
        ("ssh-ed25519 !!!!", "no base64"),
        ("ssh-ed25519 AAAA", "is cut short"),
        ("AAAAC3NzaC1lZDI1NTE5", "is of type"),
        ("x" * 10_000, "has 10000 characters"),
        ("ssh-ed25519 AAAA \u0430lice", "characters that no public key has"),
        ("ssh-ed25519 AAAA\x00", "characters that no public key has"),
        ("ssh-ed25519-cert-v01@openssh.com AAAA", "is a certificate"),
        ('command="sh" ssh-ed25519 AAAA', "begins with options"),
        ("no-pty,from=10.0.0.1 AAAA", "begins with options"),
    ],
)
def test_what_is_no_public_key_is_refused(text: object, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read_public_key(text)


def test_hostile_but_well_made_keys_are_refused() -> None:
    good = samples.real_lines()
    point = samples.ssh_string(b"nistp384") + samples.ssh_string(b"\4" + bytes(64))
    cases = {
        samples.weak_rsa_line(): "RSA key of 1024 bits",
        samples.dsa_line(): "is a DSA key",
        samples.private_text(): "is a private key",
        f"{good['ssh-ed25519']}\n{good['ssh-rsa']}": "has several lines",
        f"{good['ssh-ed25519']} {good['ssh-rsa']}": "holds two keys",
        good["ssh-ed25519"].replace("ssh-ed25519 ", "ssh-rsa "): "of another type",
        samples.line("ssh-ed25519", samples.ssh_string(bytes(31))): "has 32 bytes",
        samples.line("ssh-ed25519", samples.ssh_string(bytes(32)), b"more"): "data follows",
        samples.line("ecdsa-sha2-nistp256", point): "its curve is not",
        samples.line("ecdsa-sha2-nistp384", point): "no point of nistp384",
        samples.line(
            "sk-ssh-ed25519@openssh.com", samples.ssh_string(bytes(32)), samples.ssh_string(b"")
        ): "application",
        samples.line(
            "ssh-rsa", samples.ssh_number(65536), samples.ssh_number((1 << 2047) + 1)
        ): "no numbers of an RSA key",
        samples.line(
            "ssh-rsa", samples.ssh_string(b"\0\0\3"), samples.ssh_number((1 << 2047) + 1)
        ): "form that is not allowed",
    }
    for text, reason in cases.items():
        with pytest.raises(ValueError, match=reason):
            read_public_key(text)


@given(st.data())
def test_no_cut_key_is_accepted(data: st.DataObject) -> None:
    kind, encoded = data.draw(st.sampled_from(sorted(samples.real_lines().values()))).split()
    cut = data.draw(st.integers(0, len(encoded) - 1))
    with pytest.raises(ValueError, match=r"\w"):
        read_public_key(f"{kind} {encoded[:cut]}")


@given(st.text() | st.binary().map(lambda data: samples.line("ssh-rsa", data)))
def test_whatever_is_given_the_answer_is_one_line(text: str) -> None:
    answer: object
    try:
        answer = read_public_key(text)
    except ValueError as error:
        answer = str(error)
    if isinstance(answer, str):
        assert answer.isprintable()
        assert len(answer) < 300
    else:
        assert read_public_key(str(answer)) == answer
