"""A carrier for one purpose: its own Xray in a private directory, both gone at the end."""

import asyncio
import contextlib
import os
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from tunnel_whisperer.carrier.carrier import XrayCarrier
from tunnel_whisperer.carrier.certificate import utcnow
from tunnel_whisperer.carrier.settings import CarrierSettings
from tunnel_whisperer.errors import ConfigError, RetryableError
from tunnel_whisperer.tls_chain import find

READY_DEADLINE = 15.0
"""Seconds that Xray has to start."""


@contextlib.asynccontextmanager
async def brief_carrier(
    settings: CarrierSettings, xray: Path, *, runtime_dir: Path | None = None
) -> AsyncIterator[XrayCarrier]:
    """Give a carrier that is ready; its files are below `runtime_dir`, or the user's own where that is None.

    Raises ConfigError where the identity or Xray cannot be used or our certificate has ended, RetryableError where Xray
    does not start.
    """
    chain = find(settings.identity, utcnow())
    if chain.life.over(utcnow()):
        raise ConfigError(chain.life.ended(), where=str(chain.path))
    parent = runtime_dir or os.environ.get("XDG_RUNTIME_DIR")
    with tempfile.TemporaryDirectory(
        prefix="tw-", dir=parent if parent and os.access(parent, os.W_OK) else None
    ) as made:
        carrier = XrayCarrier(settings, Path(made), xray)
        running = asyncio.create_task(carrier.run(), name="brief carrier")
        ready = asyncio.create_task(carrier.wait_ready(), name="brief carrier is ready")
        try:
            await asyncio.wait((running, ready), timeout=READY_DEADLINE, return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                running.result()
            if not ready.done():
                raise RetryableError(carrier.status()["last_error"] or "Xray does not start", where=str(xray))
            yield carrier
        finally:
            ready.cancel()
            running.cancel()
            await asyncio.gather(running, ready, return_exceptions=True)
