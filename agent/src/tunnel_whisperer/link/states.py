"""Where a link is in its life, and what may follow what."""

import enum
import time
from collections.abc import Callable
from dataclasses import dataclass

Clock = Callable[[], float]
"""Seconds that only grow; injected, so that tests need no patience."""


class LinkState(enum.Enum):
    """Where a link is in its life; `LEGAL` says what may follow what."""

    CONNECTING = "connecting"
    UP = "up"
    DEGRADED = "degraded"
    DOWN = "down"


LEGAL: dict[LinkState, frozenset[LinkState]] = {
    LinkState.DOWN: frozenset({LinkState.CONNECTING}),
    LinkState.CONNECTING: frozenset({LinkState.UP, LinkState.DOWN}),
    LinkState.UP: frozenset({LinkState.DEGRADED, LinkState.DOWN}),
    LinkState.DEGRADED: frozenset({LinkState.UP, LinkState.DOWN}),
}

LIVE = frozenset({LinkState.UP, LinkState.DEGRADED})
"""States in which a link carries flows."""


@dataclass(frozen=True, slots=True)
class LinkChanged:
    """A link went from one state to another, and why."""

    link: int
    before: LinkState
    after: LinkState
    reason: str


class LinkLife:
    """The state of one link, with its reason in words; refuses a change that is not legal."""

    __slots__ = ("_clock", "_number", "_report", "reason", "since", "state")

    def __init__(self, number: int, report: Callable[[LinkChanged], None], clock: Clock = time.monotonic) -> None:
        """Start down; every change is given to `report`."""
        self._number = number
        self._report = report
        self._clock = clock
        self.state = LinkState.DOWN
        self.reason = "not started"
        self.since = clock()

    def go(self, state: LinkState, reason: str) -> None:
        """Change the state; being where one is changes the reason only."""
        before = self.state
        self.reason = reason
        if state is before:
            return
        if state not in LEGAL[before]:
            raise AssertionError(f"link {self._number} cannot go from {before.value} to {state.value} ({reason})")
        self.state = state
        self.since = self._clock()
        self._report(LinkChanged(self._number, before, state, reason))

    @property
    def live(self) -> bool:
        """Whether flows can be opened."""
        return self.state in LIVE

    @property
    def seconds(self) -> float:
        """How long this state has lasted."""
        return self._clock() - self.since
