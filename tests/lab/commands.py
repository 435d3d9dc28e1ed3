"""Running programs, waiting for conditions, and the one kind of error the lab shows to people."""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

T = TypeVar("T")


class LabError(Exception):
    """What went wrong in words for the person at the terminal, with what to do about it where that is known."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message if hint is None else f"{message}\n  what to do: {hint}")


class CommandFailed(LabError):
    """A program ended with a status other than 0; its output is in the message and kept in ``result``."""

    def __init__(self, result: subprocess.CompletedProcess[str]) -> None:
        self.result = result
        said = "\n".join(part.strip() for part in (result.stderr, result.stdout) if part and part.strip())
        command = shlex.join(result.args)
        super().__init__(f"'{command}' ended with status {result.returncode}: {said[-4000:] or 'no output'}")


def run(
    argv: Sequence[str],
    *,
    input: str | None = None,
    check: bool = True,
    timeout: float | None = 60,
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
    capture: bool = True,
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end; ``env`` adds to the environment; ``capture=False`` leaves it the terminal."""
    try:
        result = subprocess.run(
            list(argv),
            input=input,
            stdin=subprocess.DEVNULL if input is None and capture else None,
            capture_output=capture,
            text=True,
            errors="replace",
            timeout=timeout,
            env=None if env is None else {**os.environ, **env},
            cwd=cwd,
            check=False,
        )
    except FileNotFoundError as error:
        raise LabError(f"the program '{error.filename}' is not on this machine") from error
    except subprocess.TimeoutExpired as error:
        raise LabError(f"'{shlex.join(argv)}' was not done after {timeout:g} s") from error
    if check and result.returncode != 0:
        raise CommandFailed(result)
    return result


def wait_until(
    predicate: Callable[[], T],
    deadline: float,
    what: str,
    *,
    interval: float = 0.1,
    explain: Callable[[], str] | None = None,
) -> T:
    """Ask ``predicate`` until it answers with something true, and return that; give up after ``deadline`` seconds.

    A :class:`LabError` raised by the predicate counts as "not yet" and is named when time runs out.
    """
    end = time.monotonic() + deadline
    while True:
        reason = ""
        try:
            if answer := predicate():
                return answer
        except LabError as error:
            reason = f": {error}"
        if time.monotonic() >= end:
            more = f"\n{explain()}" if explain else ""
            raise LabError(f"waited {deadline:g} s for {what}{reason}{more}")
        time.sleep(interval)
