"""Waiting for what is to become true, instead of for a time after which it should have."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


async def until(holds: Callable[[], object], within: float = 10.0) -> None:
    """Wait until something holds; raises TimeoutError when it does not in time."""
    async with asyncio.timeout(within):
        while not holds():
            await asyncio.sleep(0.01)
