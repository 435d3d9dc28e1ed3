"""How long to wait before the next attempt: growing, jittered, and short again once something stayed up."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

_random = secrets.SystemRandom().random


@dataclass(slots=True)
class Backoff:
    """Delays from `low` to `high` seconds; growing, and starting over after `stable` seconds of life.

    They grow slowly at first: most outages last seconds, and both ends have to come back before a bridge works.
    """

    low: float = 0.2
    high: float = 15.0
    stable: float = 30.0
    growth: float = 1.5
    random: Callable[[], float] = _random
    _step: int = field(default=0, init=False)

    def next(self, lived: float) -> float:
        """Return the seconds to wait after something that lived for `lived` seconds has ended."""
        if lived >= self.stable:
            self._step = 0
        ceiling = min(self.high, self.low * self.growth ** (self._step + 1))
        self._step = min(self._step + 1, 32)
        return self.low + self.random() * (ceiling - self.low)
