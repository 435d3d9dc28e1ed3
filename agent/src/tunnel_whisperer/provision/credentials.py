"""Certificates for users who asked, and whole sets of credentials for users who are to get a bundle."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from tunnel_whisperer import pki
from tunnel_whisperer.users.model import User
from tunnel_whisperer.users.plan import new_uuid


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a bundle holds of a user, all of it secret; PEM texts."""

    ssh_key: str = field(repr=False)
    tls_key: str = field(repr=False)
    tls_chain: str
    """The user's certificate with the tenant's intermediate behind it; empty while there is no authority."""


@dataclass(frozen=True, slots=True)
class Fresh:
    """What is made for users, once for each and only when it is asked for; a plan that is made again finds it."""

    leaves: dict[tuple[str, str, timedelta], str] = field(default_factory=dict)
    """Certificates (PEM) by their holder's name, the authority's certificate and the time they are for."""
    _uuids: dict[str, str] = field(default_factory=dict)
    _ssh_keys: dict[str, bytes] = field(default_factory=dict)
    _tls_keys: dict[str, pki.TlsKey] = field(default_factory=dict)

    def uuid(self, name: str) -> str:
        """Return a UUID."""
        return self._uuids.setdefault(name, new_uuid())

    def ssh_key(self, name: str) -> bytes:
        """Return a private key for SSH."""
        if name not in self._ssh_keys:
            self._ssh_keys[name] = pki.make_ssh_key()
        return self._ssh_keys[name]

    def ssh_public_key(self, name: str) -> str:
        """Return the public half of the key for SSH, type and base64."""
        return " ".join(pki.ssh_public_line(self.ssh_key(name), name).split(" ")[:2])

    def tls_key(self, name: str) -> pki.TlsKey:
        """Return a private key for TLS."""
        if name not in self._tls_keys:
            self._tls_keys[name] = pki.make_key()
        return self._tls_keys[name]


@dataclass(frozen=True, slots=True)
class Maker:
    """Makes what a plan asks for; `requested` are the keys that certificates were asked for."""

    tenant: str
    authority: pki.Authority | None
    requested: Mapping[str, pki.TlsPublicKey]
    now: datetime
    fresh: Fresh

    def certificate(self, name: str) -> str:
        """Return a lasting certificate (PEM) for the key a user asked with or that was made for it."""
        key = self.requested.get(name) or self.fresh.tls_key(name).public_key()
        return self._sign(name, key, timedelta(days=pki.LEAF_DAYS))

    def credentials(self, user: User) -> Credentials:
        """Return what was made for a user with a bundle: for an enrolment the certificate lives no longer than that."""
        key = self.fresh.tls_key(user.name)
        leaf = user.certificate
        if user.enrolment is not None:
            leaf = self._sign(user.name, key.public_key(), user.enrolment - self.now.replace(microsecond=0))
        intermediate = pki.pem(self.authority.certificate) if self.authority else ""
        return Credentials(
            ssh_key=self.fresh.ssh_key(user.name).decode(),
            tls_key=pki.encode_key(key).decode(),
            tls_chain=leaf + intermediate,
        )

    def _sign(self, name: str, key: pki.TlsPublicKey, life: timedelta) -> str:
        if self.authority is None:
            return ""
        known = (name, pki.pem(self.authority.certificate), life)
        if known not in self.fresh.leaves:
            days = life / timedelta(days=1)
            leaf = pki.sign_leaf(self.authority, key, pki.user_name(name, self.tenant), self.now, days=days)
            self.fresh.leaves[known] = pki.pem(leaf)
        return self.fresh.leaves[known]
