"""Identity directories: private files are private, and keys fit their certificates."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import asyncssh
import pytest

from tests.integration.carrier import certificates
from tunnel_whisperer.errors import ConfigError
from tunnel_whisperer.identity import Identity, read_private


@pytest.fixture
def identity(tmp_path: Path) -> Identity:
    root = certificates.authority("Root")
    leaf = certificates.leaf("server.acme.tw.internal", signer=certificates.authority("Acme", signer=root))
    made = Identity(tmp_path)
    leaf.write(made.tls_chain, made.tls_key)
    return made


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o400, 0o440])
def test_a_private_file_may_be_read_by_owner_and_group(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b"x")
    path.chmod(mode)
    assert read_private(path) == b"x"


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o601, 0o660, 0o666])
def test_a_private_file_open_to_others_is_refused_with_the_remedy(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b"x")
    path.chmod(mode)
    with pytest.raises(ConfigError) as caught:
        read_private(path)
    remedy = f"chmod {mode & 0o750 & ~0o020:04o} {path}"
    assert str(caught.value) == f"{path}: holds a secret but has mode {mode:04o} ({remedy})"


def test_a_private_file_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secret"
    path.touch(mode=0o600)
    if os.geteuid() == 0:
        os.chown(path, 12345, 0)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(ConfigError, match="belongs to user"):
        read_private(path)


def test_the_chain_is_leaf_first_and_the_key_fits(identity: Identity) -> None:
    identity.check_tls()
    assert len(identity.tls_certificates()) == 2


def test_a_key_of_another_certificate_is_refused(identity: Identity, tmp_path: Path) -> None:
    other = certificates.leaf("x", signer=certificates.authority("Other"))
    other.write(tmp_path / "other.crt", identity.tls_key)
    with pytest.raises(ConfigError, match=r"tls.key: does not belong to the certificate in tls.crt"):
        identity.check_tls()


def test_what_is_no_pem_is_named(identity: Identity) -> None:
    identity.tls_key.write_text("nothing")
    with pytest.raises(ConfigError, match=r"tls.key: holds no usable private key"):
        identity.check_tls()
    identity.tls_chain.write_text("nothing")
    with pytest.raises(ConfigError, match=r"tls.crt: holds no certificate in PEM form"):
        identity.check_tls()


def test_uuid_and_ssh_keys(identity: Identity) -> None:
    with pytest.raises(ConfigError, match="vless_uuid: cannot be read: No such file"):
        identity.uuid()
    secret = write_private(identity.directory / "vless_uuid", b"nonsense\n")
    with pytest.raises(ConfigError, match="holds no UUID"):
        identity.uuid()
    wanted = uuid.uuid4()
    secret.write_text(f"{str(wanted).upper()}\n")
    assert identity.uuid() == str(wanted)
    key = asyncssh.generate_private_key("ssh-ed25519")
    write_private(identity.directory / "id_ed25519", key.export_private_key())
    assert identity.ssh_key().public_data == key.public_data
    write_private(identity.directory / "ssh_host_ed25519_key", b"nonsense")
    with pytest.raises(ConfigError, match="holds no usable private key"):
        identity.ssh_host_key()


def write_private(path: Path, content: bytes) -> Path:
    path.touch(mode=0o600)
    path.write_bytes(content)
    return path
