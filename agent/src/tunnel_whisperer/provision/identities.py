"""The files of an identity directory, as they are planned in a transaction."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from uuid import UUID, uuid4

from cryptography import x509

from tunnel_whisperer import identity, pki
from tunnel_whisperer.errors import ConfigError
from tunnel_whisperer.files import KEEP_OWNER, Owner, Transaction

T = TypeVar("T")
Content = TypeVar("Content", str, bytes)

PUBLIC_MODE = 0o644
DAEMON_MODE = 0o640
"""Private files of a host: the daemon's group reads them."""

OWNER_MODE = 0o600
"""Private files of the control node: nobody but their owner reads them."""


@dataclass(frozen=True, slots=True)
class IdentityFiles:
    """Writes the files of one identity directory, which exists or was asked for."""

    transaction: Transaction
    directory: Path
    owner: Owner = KEEP_OWNER
    private_mode: int = DAEMON_MODE

    def text(self, name: str) -> str | None:
        """Return what a file says, None where there is none."""
        content = self.transaction.read(self.directory / name)
        return None if content is None else content.decode("utf-8", "replace")

    def private(self, name: str, content: bytes) -> bool:
        """Have a file that holds a secret."""
        path = self.directory / name
        return self.transaction.write(path, content, mode=self.private_mode, owner=self.owner, secret=True)

    def public(self, name: str, content: str) -> bool:
        """Have a file that anybody may read."""
        return self.transaction.write(self.directory / name, content.encode(), mode=PUBLIC_MODE, owner=self.owner)

    def certify(self, name: str, *certificates: x509.Certificate) -> bool:
        """Have a file that holds these certificates; its change is told as what they say."""
        path, content = self.directory / name, pki.pem(*certificates).encode()
        shown = pki.describe(*self.certificates(name)), pki.describe(*certificates)
        return self.transaction.write(path, content, mode=PUBLIC_MODE, owner=self.owner, shown=shown)

    def tls_key(self, name: str = identity.TLS_KEY, given: bytes | None = None) -> pki.TlsKey:
        """Have a private key for TLS: the one given, else the one that is there, else a new one."""
        content = given or self.transaction.read(self.directory / name)
        key = pki.make_key() if content is None else self._read(name, pki.load_key, content)
        self.private(name, content or pki.encode_key(key))
        return key

    def ssh_key(self, name: str, comment: str, given: bytes | None = None) -> str:
        """Have a private key for SSH, chosen as the one for TLS is, and its public half beside it; return that."""
        content = given or self.transaction.read(self.directory / name) or pki.make_ssh_key()
        line = self._read(name, lambda private: pki.ssh_public_line(private, comment), content)
        self.private(name, content)
        self.public(f"{name}.pub", f"{line}\n")
        return line

    def uuid(self, given: str | None = None) -> str:
        """Have a VLESS UUID: the one given, else the one that is there, else a new one."""
        found = self.text(identity.UUID_FILE)
        uuid = given or (str(uuid4()) if found is None else self._read(identity.UUID_FILE, read_uuid, found))
        self.private(identity.UUID_FILE, f"{uuid}\n".encode())
        return uuid

    def certificates(self, name: str) -> tuple[x509.Certificate, ...]:
        """Return the certificates in a file; none where it is missing or damaged, as they can be made again."""
        try:
            return pki.read_certificates(self.text(name))
        except ValueError:
            return ()

    def _read(self, name: str, reader: Callable[[Content], T], content: Content) -> T:
        try:
            return reader(content)
        except ValueError as error:
            where = str(self.directory / name)
            raise ConfigError(str(error), where=where, hint="remove it to have a new one made") from None


def read_uuid(text: object) -> str:
    """Read a UUID, in its usual form; raises ValueError."""
    try:
        return str(UUID(str(text).strip()))
    except ValueError:
        raise ValueError("holds no UUID") from None
