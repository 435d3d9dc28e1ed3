"""Certificates for users who asked, and whole sets of credentials for users who are to get a bundle."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from tunnel_whisperer import pki
from tunnel_whisperer.users.desired import DesiredUser


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a bundle holds of a user, all of it secret; PEM texts."""

    ssh_key: str
    tls_key: str
    tls_chain: str
    """The user's certificate with the tenant's intermediate behind it; empty while there is no authority."""


@dataclass(frozen=True, slots=True)
class Maker:
    """Makes what a plan asks for; keys are made once, and only for those who need them.

    `requested` are the keys that certificates were asked for.
    """

    tenant: str
    authority: pki.Authority | None
    requested: Mapping[str, pki.TlsPublicKey]
    desired: Mapping[str, DesiredUser]
    now: datetime
    _ssh_keys: dict[str, bytes] = field(default_factory=dict)
    _tls_keys: dict[str, pki.TlsKey] = field(default_factory=dict)

    def ssh_public_key(self, name: str) -> str:
        """Return the public half of the SSH key made for a user, type and base64."""
        if name not in self._ssh_keys:
            self._ssh_keys[name] = pki.make_ssh_key()
        private = self._ssh_keys[name]
        return " ".join(pki.ssh_public_line(private, name).split(" ")[:2])

    def certificate(self, name: str) -> str:
        """Return a lasting certificate (PEM) for the key a user asked with or that was made for it."""
        return self._sign(name, pki.LEAF_DAYS)

    def credentials(self, name: str) -> Credentials:
        """Return what was made for a user with a bundle: for an enrolment the certificate lives no longer than that."""
        wish = self.desired[name].bundle
        days = wish.hours / 24 if wish is not None and wish.kind == "enrolment" else pki.LEAF_DAYS
        leaf = self._sign(name, days)
        intermediate = pki.pem(self.authority.certificate) if self.authority else ""
        return Credentials(
            ssh_key=self._ssh_keys[name].decode(),
            tls_key=pki.encode_key(self._tls_key(name)).decode(),
            tls_chain=leaf + intermediate,
        )

    def _sign(self, name: str, days: float) -> str:
        if self.authority is None:
            return ""
        key = self.requested.get(name) or self._tls_key(name).public_key()
        return pki.pem(pki.sign_leaf(self.authority, key, pki.user_name(name, self.tenant), self.now, days=days))

    def _tls_key(self, name: str) -> pki.TlsKey:
        if name not in self._tls_keys:
            self._tls_keys[name] = pki.make_key()
        return self._tls_keys[name]
