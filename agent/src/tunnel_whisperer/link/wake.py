"""Notice what breaks links silently: the host slept, this process was stopped, the way out changed."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from pathlib import Path

INTERVAL = 1.0
JUMP = 3.0
"""Seconds by which the clocks may disagree before something must have happened."""


def default_routes(net: Path = Path("/proc/net")) -> tuple[frozenset[str], frozenset[str]]:
    """Return the default routes, as far as they say where packets leave: by which device, to which gateway."""
    ipv4 = frozenset(f"{row[0]} {row[2]}" for row in _rows(net / "route") if row[1] == "00000000")
    ipv6 = frozenset(f"{row[9]} {row[4]}" for row in _rows(net / "ipv6_route") if row[:2] == ["0" * 32, "00"])
    return ipv4, ipv6


def _rows(table: Path) -> list[list[str]]:
    with contextlib.suppress(OSError):
        return [row for line in table.read_text().splitlines() if len(row := line.split()) > 9]
    return []


def _boot_time() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class WakeWatch:
    """Looks at clocks and routes; the next look's difference tells."""

    def __init__(
        self,
        *,
        running: Callable[[], float] = time.monotonic,
        boot: Callable[[], float] = _boot_time,
        routes: Callable[[], object] = default_routes,
    ) -> None:
        """`running` stands still while the host sleeps, `boot` does not."""
        self._running = running
        self._boot = boot
        self._routes = routes
        self._seen = (running(), boot(), routes())

    def look(self, expected: float = INTERVAL) -> str | None:
        """Say what happened since the last look, which should be `expected` seconds ago; None for nothing."""
        ran, booted, routes = self._seen
        self._seen = (self._running(), self._boot(), self._routes())
        slept = (self._seen[1] - booted) - (self._seen[0] - ran)
        if slept > JUMP:
            return f"the host slept for {slept:.0f} s"
        late = self._seen[0] - ran - expected
        if late > JUMP:
            return f"this process stood still for {late:.0f} s"
        if self._seen[2] != routes:
            return "the way out of this host changed"
        return None

    async def run(self, on_wake: Callable[[str], None]) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(INTERVAL)
            if what := self.look():
                on_wake(what)
