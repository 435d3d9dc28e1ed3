"""What the server's daemon grants its users over their control channels, and itself: certificates, enrolments.

The engine does the work, in a thread: it locks and writes files.
"""

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from tunnel_whisperer import pki
from tunnel_whisperer.errors import NotGrantedError
from tunnel_whisperer.files import Transaction
from tunnel_whisperer.identity import Identity
from tunnel_whisperer.link.requests import Asker
from tunnel_whisperer.provision import renewal
from tunnel_whisperer.provision.users import Place
from tunnel_whisperer.tls_chain import Chain
from tunnel_whisperer.users import times
from tunnel_whisperer.users.store import Snapshot

T = TypeVar("T")


def utcnow() -> datetime:
    """Return the time here."""
    return datetime.now(UTC)


class Issuing:
    """Grants what a tenant's users ask for."""

    def __init__(
        self,
        tenant: str,
        place: Place,
        snapshot: Callable[[], Snapshot],
        now: Callable[[], datetime] = utcnow,
    ) -> None:
        """`snapshot` is the users file as it was read last."""
        self._tenant = tenant
        self._place = place
        self._snapshot = snapshot
        self._now = now

    async def whoami(self, asker: Asker) -> Mapping[str, Any]:
        """Tell a user of itself."""
        users = self._snapshot().users
        user = users.get(asker.user)
        if user is None:
            raise NotGrantedError(f"{asker.user} is no user any more")
        return {
            "user": user.name,
            "expires": None if user.grant.expires is None else times.write(user.grant.expires),
            "certificate_until": _until(user.certificate),
            "bridges": [bridge.as_data() for bridge in renewal.bridges_of(user, users)],
        }

    async def renew(self, asker: Asker, csr: str) -> Mapping[str, Any]:
        """Certify a user's key anew."""

        def work(transaction: Transaction) -> str:
            now, last = self._now(), self._snapshot()
            place, tenant = self._place, self._tenant
            return renewal.renew(transaction, place, tenant, asker.user, asker.key, csr, now=now, last=last)

        return {"certificate": await _committed(work)}

    async def enrol(self, asker: Asker, ssh_public_key: str, csr: str) -> Mapping[str, Any]:
        """Give a user lasting credentials for the short-lived ones it was given."""
        shown = renewal.Credentials(asker.key, ssh_public_key, csr)

        def work(transaction: Transaction) -> renewal.Enrolled:
            now, last = self._now(), self._snapshot()
            return renewal.enrol(transaction, self._place, self._tenant, asker.user, shown, now=now, last=last)

        enrolled = await _committed(work)
        return {
            "uuid": enrolled.uuid,
            "certificate": enrolled.chain,
            "bridges": [bridge.as_data() for bridge in enrolled.bridges],
        }

    async def renew_own(self, own: Identity) -> Chain:
        """Have a certificate for this server itself that serves."""
        return await _committed(
            lambda transaction: renewal.renew_server(transaction, own, self._tenant, now=self._now())
        )


async def _committed(work: Callable[[Transaction], T]) -> T:
    """Let a thread plan changes and make them."""

    def whole() -> T:
        with Transaction() as transaction:
            result = work(transaction)
            transaction.commit()
        return result

    return await asyncio.to_thread(whole)


def _until(certificate: str) -> str | None:
    try:
        return times.write(pki.read_certificates(certificate)[0].not_valid_after_utc)
    except ValueError:
        return None
