"""Our own TLS certificate: which of those we have is in use, and how much of its life is left.

There may be two for our key: the one that was configured (by Ansible, by an import), and the one that the daemon had
renewed, in its state directory. The younger one counts, whoever brought it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Self

from cryptography import x509

from tunnel_whisperer import pki
from tunnel_whisperer.errors import ConfigError
from tunnel_whisperer.identity import ENROL, TLS_CHAIN, Identity, read_private, read_public

CLOCK_SKEW = timedelta(minutes=10)
"""So long after its end a certificate is still tried: our clock may be early, and it is the relay's that counts."""

_LOW = 4
"""A certificate should have been renewed before less than a quarter of its life is left."""

_DAY = 86400.0


@dataclass(frozen=True, slots=True)
class Life:
    """The time in which a certificate is valid: from `begins` up to, and not including, `ends`."""

    begins: datetime
    ends: datetime

    @classmethod
    def of(cls, certificate: x509.Certificate) -> Self:
        """Return the life of a certificate."""
        return cls(certificate.not_valid_before_utc, certificate.not_valid_after_utc)

    def over(self, now: datetime) -> bool:
        """Say whether it is over, even if our clock is a little early."""
        return now >= self.ends + CLOCK_SKEW

    def low(self, now: datetime) -> bool:
        """Say whether so little is left that the certificate should have been renewed long ago."""
        return self.ends - now < (self.ends - self.begins) / _LOW

    def days_left(self, now: datetime) -> float:
        """Return the days up to its end; negative when that has passed."""
        return (self.ends - now).total_seconds() / _DAY

    def status(self, now: datetime) -> dict[str, Any]:
        """Tell of it."""
        return {
            "since": f"{self.begins:%Y-%m-%dT%H:%M:%SZ}",
            "until": f"{self.ends:%Y-%m-%dT%H:%M:%SZ}",
            "days_left": round(self.days_left(now), 2),
            "state": "ended" if self.over(now) else "low" if self.low(now) else "good",
        }

    def ended(self) -> str:
        """Say in words that it is over, and what is to be done."""
        return f"our certificate ended on {self.ends:%Y-%m-%d}; {ENROL}"


@dataclass(frozen=True, slots=True)
class Chain:
    """A certificate for our key with those behind it, and where it was found."""

    path: Path
    key: pki.TlsPublicKey
    certificates: tuple[x509.Certificate, ...]

    @property
    def leaf(self) -> x509.Certificate:
        """Our own certificate."""
        return self.certificates[0]

    @property
    def life(self) -> Life:
        """When it is valid."""
        return Life.of(self.leaf)

    @property
    def pem(self) -> str:
        """All certificates, leaf first."""
        return pki.pem(*self.certificates)


def find(own: Identity, now: datetime) -> Chain:
    """Return the certificate that is in use; raises ConfigError where none fits our key.

    What is in the state directory is damaged or for a former key at worst, and then left aside.
    """
    configured = Chain(own.tls_chain, _key(own), tuple(own.tls_certificates()))
    found = [configured] if pki.public_key(configured.leaf) == configured.key else []
    if own.state_dir is not None:
        found += _renewed(own.state_dir / TLS_CHAIN, configured.key)
    if not found:
        raise ConfigError(f"does not belong to the certificate in {own.tls_chain.name}", where=str(own.tls_key))
    return youngest(found, now)


def youngest(chains: Iterable[Chain], now: datetime) -> Chain:
    """Return the one that began last of those that serve; where none does, the one that ended last."""
    chains = tuple(chains)
    serving = [chain for chain in chains if not chain.life.over(now)]
    if serving:
        return max(serving, key=lambda chain: chain.life.begins)
    return max(chains, key=lambda chain: chain.life.ends)


def check(text: object, path: Path, key: pki.TlsPublicKey, name: str, now: datetime) -> Chain:
    """Read what a server certified for us: leaf and intermediate; raises ValueError where it does not serve."""
    certificates = pki.read_certificates(text)
    if len(certificates) < 2:
        raise ValueError("comes without the authority's own certificate")
    reason = pki.stale(certificates[0], certificates[1], key, name, now)
    if reason is not None and reason != pki.HALF_OVER:
        raise ValueError(f"does not serve: {reason}")
    return Chain(path, key, certificates)


def _renewed(path: Path, key: pki.TlsPublicKey) -> list[Chain]:
    try:
        certificates = pki.read_certificates(read_public(path).decode("ascii", "replace"))
    except (ConfigError, ValueError):
        return []
    return [Chain(path, key, certificates)] if pki.public_key(certificates[0]) == key else []


def _key(own: Identity) -> pki.TlsPublicKey:
    try:
        return pki.load_key(read_private(own.tls_key)).public_key()
    except ValueError as error:
        raise ConfigError(f"holds no usable private key: {error}", where=str(own.tls_key)) from None
