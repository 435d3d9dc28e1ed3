"""What one step of an examination says, and the record that times the steps and skips those that cannot be tried."""

import enum
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from typing import TypeVar

from tunnel_whisperer.errors import TwError

T = TypeVar("T")


class Status(enum.StrEnum):
    """How a step went."""

    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Result:
    """One step: what was looked at, how it went, and what to do about it (empty where nothing needs doing)."""

    component: str
    target: str
    status: Status
    duration_ms: float
    details: str
    action: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a step that went well found, with advice where it will not go well for ever."""

    details: str
    advice: str = ""


class TroubleError(Exception):
    """A step went wrong; `details` is what was seen, `action` what to do."""

    def __init__(self, details: str, action: str) -> None:
        super().__init__(details)
        self.details = details
        self.action = action


@dataclass(slots=True)
class Record:
    """The results of one examination, in the order of trying; `on_result` hears each as it comes."""

    on_result: Callable[[Result], None] = lambda _: None
    results: list[Result] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether no step failed."""
        return all(result.status is not Status.FAILED for result in self.results)

    def failed(self, component: str) -> bool:
        """Whether a step of this component failed or could not be tried."""
        return any(result.component == component and result.status is not Status.OK for result in self.results)

    async def step(
        self,
        component: str,
        target: str,
        work: Callable[[], Awaitable[Finding]],
        *,
        after: Collection[str] = (),
    ) -> bool:
        """Try a step unless one of the components in `after` did not go well; return whether it went well."""
        for needed in after:
            if self.failed(needed):
                self._add(Result(component, target, Status.SKIPPED, 0.0, f"not tried: it needs '{needed}'"))
                return False
        began = time.monotonic()
        try:
            found = await work()
        except TroubleError as trouble:
            self._end(component, target, Status.FAILED, began, trouble.details, trouble.action)
            return False
        except (TwError, OSError) as error:
            self._end(component, target, Status.FAILED, began, str(error), "")
            return False
        self._end(component, target, Status.OK, began, found.details, found.advice)
        return True

    def _end(self, component: str, target: str, status: Status, began: float, details: str, action: str) -> None:
        duration = round((time.monotonic() - began) * 1000, 1)
        self._add(Result(component, target, status, duration, " ".join(details.split()), action))

    def _add(self, result: Result) -> None:
        self.results.append(result)
        self.on_result(result)
