"""Who we are: the files of an identity directory, and how they are read.

A directory belongs to one party (a tenant's server, a user, an operator). Its names are the same everywhere, so the
modules that write it and the daemons that read it agree by importing them from here.
"""

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from tunnel_whisperer.errors import ConfigError

if TYPE_CHECKING:
    import asyncssh
    from cryptography import x509

CA_KEY = "ca.key"
CA_CHAIN = "ca.crt"
TLS_KEY = "tls.key"
TLS_CHAIN = "tls.crt"
SSH_HOST_KEY = "ssh_host_ed25519_key"
SSH_KEY = "id_ed25519"
UUID_FILE = "vless_uuid"
RELAY_ROOTS = "relay_roots.pem"

ENROL = "enrol anew: ask the operator for a new bundle, or run site.yml for a managed host"
"""What to do about a certificate that was not renewed in time."""

_WRONG_BITS = stat.S_IWGRP | stat.S_IRWXO
"""A private file may be read by its group (the daemon's), never written by it, and is closed to all others."""


@dataclass(frozen=True, slots=True)
class Identity:
    """An identity directory. Reading raises ConfigError, which names the file and how to mend it."""

    directory: Path
    state_dir: Path | None = None
    """Where a daemon keeps the certificate it had renewed; the identity directory belongs to who configures it."""

    @property
    def tls_key(self) -> Path:
        """The TLS client key (PEM)."""
        return self.directory / TLS_KEY

    @property
    def tls_chain(self) -> Path:
        """The TLS client certificate with the tenant's intermediate behind it (PEM)."""
        return self.directory / TLS_CHAIN

    def uuid(self) -> str:
        """Return the VLESS UUID, in its usual form."""
        path = self.directory / UUID_FILE
        text = read_private(path).decode("ascii", "replace").strip()
        try:
            return str(UUID(text))
        except ValueError:
            raise ConfigError("holds no UUID", where=str(path)) from None

    def tls_certificates(self) -> "list[x509.Certificate]":
        """Return our own TLS certificate and those behind it, leaf first."""
        from cryptography import x509

        try:
            return x509.load_pem_x509_certificates(read_public(self.tls_chain))
        except ValueError as error:
            raise ConfigError(f"holds no certificate in PEM form: {error}", where=str(self.tls_chain)) from None

    def check_tls(self) -> None:
        """Make sure that the TLS key is private, readable and belongs to the certificate."""
        from cryptography.hazmat.primitives import serialization

        leaf = self.tls_certificates()[0]
        try:
            key = serialization.load_pem_private_key(read_private(self.tls_key), password=None)
        except (ValueError, TypeError) as error:
            raise ConfigError(f"holds no usable private key: {error}", where=str(self.tls_key)) from None
        if key.public_key() != leaf.public_key():
            raise ConfigError(f"does not belong to the certificate in {self.tls_chain.name}", where=str(self.tls_key))

    def ssh_key(self) -> "asyncssh.SSHKey":
        """Return the key we log in with."""
        return _ssh_key(self.directory / SSH_KEY)

    def ssh_host_key(self) -> "asyncssh.SSHKey":
        """Return the host key of the embedded SSH server."""
        return _ssh_key(self.directory / SSH_HOST_KEY)


def read_public(path: Path) -> bytes:
    """Read a file that holds no secret; raises ConfigError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from None


def read_private(path: Path) -> bytes:
    """Read a file that holds a secret, after making sure that nobody else can; raises ConfigError."""
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            if found.st_mode & _WRONG_BITS:
                mode = stat.S_IMODE(found.st_mode)
                hint = f"chmod {mode & ~_WRONG_BITS:04o} {path}"
                raise ConfigError(f"holds a secret but has mode {mode:04o}", where=str(path), hint=hint)
            if found.st_uid not in (0, os.geteuid()):
                raise ConfigError(f"holds a secret but belongs to user {found.st_uid}", where=str(path))
            return file.read()
    except OSError as error:
        raise _unreadable(path, error) from None


def _ssh_key(path: Path) -> "asyncssh.SSHKey":
    import asyncssh

    try:
        return asyncssh.import_private_key(read_private(path))
    except asyncssh.KeyImportError as error:
        raise ConfigError(f"holds no usable private key: {error}", where=str(path)) from None


def _unreadable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(f"cannot be read: {error.strerror}", where=str(path))
