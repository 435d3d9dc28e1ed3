"""Groups of flows: those of a bridge, of a link, of a user's session; who is in them and what they have carried."""

import asyncio
from collections.abc import Iterator
from typing import Protocol


class Member(Protocol):
    """A flow, as its groups see it."""

    sent: int
    received: int

    def cut(self) -> None:
        """End now."""
        ...


class FlowGroup:
    """Flows that are counted and ended together; a flow is in a group until it is done."""

    __slots__ = ("_empty", "_flows", "_received", "_sent", "total")

    def __init__(self) -> None:
        """Start empty."""
        self._flows: set[Member] = set()
        self._sent = 0
        self._received = 0
        self._empty: list[asyncio.Future[None]] = []
        self.total = 0

    def __len__(self) -> int:
        return len(self._flows)

    def __iter__(self) -> Iterator[Member]:
        return iter(tuple(self._flows))

    def join(self, flow: Member) -> None:
        """Take a flow in."""
        self._flows.add(flow)
        self.total += 1

    def leave(self, flow: Member) -> None:
        """Let a flow go and keep its counts."""
        if flow not in self._flows:
            return
        self._flows.remove(flow)
        self._sent += flow.sent
        self._received += flow.received
        if not self._flows:
            for waiter in self._empty:
                if not waiter.done():
                    waiter.set_result(None)
            self._empty.clear()

    @property
    def sent(self) -> int:
        """Bytes that went into SSH channels, ever."""
        return self._sent + sum(flow.sent for flow in self._flows)

    @property
    def received(self) -> int:
        """Bytes that came out of SSH channels, ever."""
        return self._received + sum(flow.received for flow in self._flows)

    def cut(self) -> None:
        """End all flows now."""
        for flow in self:
            flow.cut()

    async def drained(self) -> None:
        """Wait until no flow is left."""
        while self._flows:
            waiter = asyncio.get_running_loop().create_future()
            self._empty.append(waiter)
            await waiter
