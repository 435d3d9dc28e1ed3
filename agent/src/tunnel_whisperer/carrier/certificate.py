"""The one file in which Xray finds our certificate, whichever of those we have is in use.

Xray reads it again every hour or so. It is replaced as a whole, so that no Xray ever reads half of it.
"""

import logging
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from tunnel_whisperer.errors import ConfigError
from tunnel_whisperer.identity import TLS_CHAIN, Identity
from tunnel_whisperer.tls_chain import Chain, find

_logger = logging.getLogger("tunnel_whisperer.carrier")


def utcnow() -> datetime:
    """Return the time here."""
    return datetime.now(UTC)


class CertificateFile:
    """Follows the certificates of an identity."""

    def __init__(self, own: Identity, runtime_dir: Path, now: Callable[[], datetime] = utcnow) -> None:
        """Prepare only; `follow` writes the file."""
        self.path = runtime_dir / TLS_CHAIN
        self.chain: Chain | None = None
        self._own = own
        self._now = now
        self._seen: tuple[object, ...] = ()
        self._fault = ""

    @property
    def over(self) -> bool:
        """Whether the certificate is of no use any more."""
        return self.chain is not None and self.chain.life.over(self._now())

    def begin(self) -> None:
        """Write the file; raises ConfigError when there is no certificate for our key."""
        self._seen = self._look()
        self._take(find(self._own, self._now()))

    def follow(self) -> None:
        """Write the file anew where another certificate is in use by now; what cannot be read just now is told once."""
        seen = self._look()
        if seen == self._seen and not self.over:
            return
        try:
            chain = find(self._own, self._now())
        except ConfigError as error:
            if str(error) != self._fault:
                _logger.warning("the certificate stays as it is: %s", error)
            self._fault = str(error)
            return
        self._seen, self._fault = seen, ""
        if self.chain is None or chain.certificates != self.chain.certificates:
            self._take(chain)
            _logger.info("the certificate in use is the one in %s, until %s", chain.path, f"{chain.life.ends:%Y-%m-%d}")

    def _take(self, chain: Chain) -> None:
        beside = self.path.with_name(f".{self.path.name}")
        beside.unlink(missing_ok=True)
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(chain.pem)
        beside.replace(self.path)
        self.chain = chain

    def _look(self) -> tuple[object, ...]:
        """Return what changes whenever one of the files does."""
        files = [self._own.tls_key, self._own.tls_chain]
        if self._own.state_dir is not None:
            files.append(self._own.state_dir / TLS_CHAIN)
        return tuple(_stamp(file) for file in files)


def _stamp(path: Path) -> tuple[int, ...]:
    try:
        found = os.stat(path)
    except OSError:
        return ()
    return found.st_ino, found.st_mtime_ns, found.st_size
