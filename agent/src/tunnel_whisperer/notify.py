"""Tells systemd how a daemon is: ready, its state in words, alive, stopping."""

import asyncio
import logging
import os
import socket
import time
from collections.abc import Awaitable, Callable

LATE = 1.0
"""Seconds by which an answer of the loop may be late before the log says so."""

_logger = logging.getLogger("tunnel_whisperer.daemon")


class Notifier:
    """Speaks to the service manager, if there is one."""

    def __init__(self) -> None:
        """Find out who listens from the environment."""
        self._address = os.environ.get("NOTIFY_SOCKET", "")
        self._said = ""

    def ready(self, status: str) -> None:
        """Say that the daemon does its work."""
        self._send(f"READY=1\nSTATUS={status}")

    def status(self, status: str) -> None:
        """Say in words how things are, when that has changed."""
        if status != self._said:
            self._said = status
            self._send(f"STATUS={status}")

    def stopping(self) -> None:
        """Say that the daemon is about to end."""
        self._send("STOPPING=1\nSTATUS=stopping")

    def reloading(self) -> None:
        """Say that the configuration is being read again; `ready` follows."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    @property
    def watchdog(self) -> float | None:
        """Seconds within which a sign of life is expected, if any is."""
        usec, pid = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
        if not usec.isdigit() or (pid and pid != str(os.getpid())):
            return None
        return int(usec) / 1_000_000

    async def beat(self, answer: Callable[[], Awaitable[None]]) -> None:
        """Give signs of life until cancelled: each one only after `answer` has come from what must not hang."""
        limit = self.watchdog
        if limit is None:
            return
        interval = limit / 4
        while True:
            began = time.monotonic()
            await answer()
            self._send("WATCHDOG=1")
            await asyncio.sleep(interval)
            late = time.monotonic() - began - interval
            if late > LATE:
                _logger.warning("the event loop stood still for %.1f s", late)

    def _send(self, text: str) -> None:
        if not self._address:
            return
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as sock:
            try:
                sock.sendto(text.encode(), address)
            except OSError as error:
                _logger.debug("the service manager cannot be told: %s", error)
