"""Tells the person at the terminal which step runs and how long each took."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Report:
    """Prints one line when a step starts and, for steps one waits for, one with the time it took."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._began = time.monotonic()
        self._quiet = quiet

    @property
    def elapsed(self) -> float:
        """Seconds since this report began."""
        return time.monotonic() - self._began

    def say(self, text: str) -> None:
        """Print one line with the time elapsed in front of it."""
        if not self._quiet:
            print(f"[{self.elapsed:6.1f} s] {text}", file=sys.stderr, flush=True)

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        """Announce a step, then say how long it took if that was worth mentioning."""
        self.say(text)
        began = time.monotonic()
        yield
        took = time.monotonic() - began
        if took >= 1:
            self.say(f"  … took {took:.1f} s")
