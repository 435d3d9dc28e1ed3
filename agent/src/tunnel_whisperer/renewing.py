"""Has our own TLS certificate renewed at half of its life, and says so in good time where that does not work."""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from tunnel_whisperer import pki
from tunnel_whisperer.backoff import Backoff
from tunnel_whisperer.carrier.certificate import utcnow
from tunnel_whisperer.errors import RetryableError, TwError
from tunnel_whisperer.files import Transaction
from tunnel_whisperer.identity import TLS_CHAIN, Identity, read_private
from tunnel_whisperer.link.link import Link
from tunnel_whisperer.provision.renewal import keep
from tunnel_whisperer.tls_chain import Chain, Life, check

LOOK = 30.0
"""Seconds between looks at the time; a host that slept has another one when it wakes."""

REMIND = 24 * 3600.0
"""Seconds after which the log warns again."""

SPREAD = 20
"""Renewals are spread over the twentieth part of a life that follows its half, so that not all come at once."""

_random = secrets.SystemRandom().random
_logger = logging.getLogger("tunnel_whisperer.certificate")


def due(life: Life, spread: float) -> datetime:
    """Return when a certificate is to be renewed; `spread` is from 0 to 1."""
    whole = life.ends - life.begins
    return life.begins + whole / 2 + whole * spread / SPREAD


class Renewal:
    """Looks at the certificate in use until cancelled; `renew` has a new one made, and keeps it."""

    def __init__(
        self,
        chain: Callable[[], Chain | None],
        renew: Callable[[Chain], Awaitable[Chain]],
        *,
        authority: Callable[[], Life | None] = lambda: None,
        now: Callable[[], datetime] = utcnow,
        pauses: Backoff | None = None,
        random: Callable[[], float] = _random,
    ) -> None:
        """`authority` tells the life of the authority's own certificate, where it is ours to look after."""
        self._chain = chain
        self._renew = renew
        self._authority = authority
        self._now = now
        self._pauses = pauses or Backoff(low=10.0, high=6 * 3600.0, growth=2.0)
        self._spread = random()
        self._not_before = 0.0
        self._reminders: dict[str, float] = {}
        self.error: str | None = None
        """Why the last attempt failed; None when it did not."""

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK)

    async def look(self) -> None:
        """Renew the certificate if it is time, and warn where time is short."""
        chain, clock = self._chain(), asyncio.get_running_loop().time()
        if chain is None:
            return
        if self._now() >= due(chain.life, self._spread) and clock >= self._not_before:
            await self._attempt(chain, clock)
        self._warn(chain.life, "our certificate", self.error or "it is not renewed yet")
        if (authority := self._authority()) is not None:
            self._warn(authority, "the certificate of this tenant's authority", "let the operator run site.yml")

    def status(self) -> dict[str, Any] | None:
        """Tell of the certificate and its renewal."""
        chain = self._chain()
        if chain is None:
            return None
        renewal = {"due": f"{due(chain.life, self._spread):%Y-%m-%dT%H:%M:%SZ}", "error": self.error}
        return {**chain.life.status(self._now()), "renewal": renewal}

    def authority_status(self) -> dict[str, Any] | None:
        """Tell of the authority's certificate."""
        life = self._authority()
        return None if life is None else life.status(self._now())

    async def _attempt(self, chain: Chain, clock: float) -> None:
        try:
            renewed = await self._renew(chain)
            if renewed.life.ends <= chain.life.ends:
                raise RetryableError("a later one is not to be had yet")
        except TwError as error:
            self.error = str(error)
            pause = self._pauses.next(0.0)
            self._not_before = clock + pause
            _logger.info("the certificate is not renewed: %s; next attempt in %.0f s", error, pause)
            return
        self.error = None
        self._pauses.next(self._pauses.stable)
        # Until the new one is found in its place, there is nothing to do.
        self._not_before = clock + self._pauses.low
        _logger.info("the certificate was renewed; the new one is valid until %s", f"{renewed.life.ends:%Y-%m-%d}")

    def _warn(self, life: Life, what: str, why: str) -> None:
        now, clock = self._now(), asyncio.get_running_loop().time()
        if not life.low(now) or clock - self._reminders.get(what, -REMIND) < REMIND:
            return
        self._reminders[what] = clock
        verb = "ended" if life.over(now) else "ends"
        _logger.warning("%s %s on %s: %s", what, verb, f"{life.ends:%Y-%m-%d %H:%M} UTC", why)


async def renew_over(link: Link | None, own: Identity, user: str, tenant: str, chain: Chain) -> Chain:
    """Have the server at the other end of a link certify our key anew, and keep what it says; raises TwError."""
    if link is None:
        raise RetryableError("no link to the server is up")
    if own.state_dir is None:
        raise RetryableError("there is no place to keep it", hint="key 'state_dir'")
    state_dir = own.state_dir
    csr = pki.make_csr(pki.load_key(read_private(own.tls_key)), user).decode()
    answer = await link.ask("renew", csr=csr)
    try:
        name = pki.user_name(user, tenant)
        renewed = check(answer.get("certificate"), state_dir / TLS_CHAIN, chain.key, name, utcnow())
    except ValueError as error:
        raise RetryableError(f"the server's certificate {error}") from None

    def write() -> Chain:
        with Transaction() as transaction:
            kept = keep(transaction, state_dir, renewed)
            transaction.commit()
        return kept

    return await asyncio.to_thread(write)
