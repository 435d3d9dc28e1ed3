"""What can happen at each step of a change: a call that fails, or a machine that loses its power."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn
from unittest import mock

from tunnel_whisperer.errors import TwError
from tunnel_whisperer.files import commit

CHANGING = ("open", "mkdir", "write", "rename", "link", "unlink", "rmdir", "fsync", "fchmod", "fchown")
"""The calls of module `os` by which something is changed; `exchange` is one more."""

DIED = 99
MOST = 400


class Faulty:
    """Stands in for module `os`: of the calls that change something, number `fatal` fails, with `dead` all after it."""

    def __init__(self, fatal: int, *, dead: bool = False, number: int = errno.ENOSPC) -> None:
        self.calls = 0
        self.fatal = fatal
        self.dead = dead
        self.number = number

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        return self.wrap(real) if name in CHANGING else real

    def wrap(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **more: Any) -> Any:
            self.calls += 1
            if self.calls == self.fatal or (self.dead and self.calls > self.fatal):
                self.fail()
            return self.done(real, real(*args, **more), args)

        return call

    def done(self, real: Callable[..., Any], result: Any, args: tuple[Any, ...]) -> Any:
        return result

    def fail(self) -> None:
        raise OSError(self.number, os.strerror(self.number))


class Doomed(Faulty):
    """As `Faulty`, but the process ends there, and what was written and not yet synchronised is lost with it."""

    def __init__(self, fatal: int) -> None:
        super().__init__(fatal)
        self.unsafe: set[int] = set()

    def done(self, real: Callable[..., Any], result: Any, args: tuple[Any, ...]) -> Any:
        if real is os.write:
            self.unsafe.add(os.dup(args[0]))
        elif real is os.fsync:
            self.unsafe -= {fd for fd in self.unsafe if os.path.sameopenfile(fd, args[0])}
        return result

    def fail(self) -> NoReturn:
        for fd in self.unsafe:
            os.ftruncate(fd, 0)
        os._exit(DIED)


@contextmanager
def struck_by(faulty: Faulty, exchange: Callable[[int, str, str], bool] = commit.exchange) -> Iterator[None]:
    """Let the calls by which changes are made meet with what `faulty` stands for."""
    with (
        mock.patch.object(commit, "os", faulty),
        mock.patch.object(commit, "exchange", faulty.wrap(exchange)),
    ):
        yield


def power_cuts(restore: Callable[[], None], work: Callable[[], object]) -> Iterator[int]:
    """Let a process do the work and die at each of its calls in turn; yield after each death, until it completes.

    Before each of them `restore` puts the world back as it was.
    """
    for fatal in range(1, MOST):
        restore()
        child = os.fork()
        if child == 0:
            code = 1
            try:
                with struck_by(Doomed(fatal)):
                    work()
                code = 0
            finally:
                os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert code in (0, DIED), f"call {fatal}: ended with code {code}"
        if code == 0:
            return
        yield fatal
    raise AssertionError("it never completes")


def failures(restore: Callable[[], None], work: Callable[[], object], number: int) -> Iterator[TwError | None]:
    """Do the work with each of its calls failing in turn; yield its error after each, until it meets no fault."""
    for fatal in range(1, MOST):
        restore()
        faulty = Faulty(fatal, number=number)
        error: TwError | None = None
        with struck_by(faulty):
            try:
                work()
            except TwError as caught:
                error = caught
        if faulty.calls < fatal:
            return
        yield error
    raise AssertionError("there is no end of faults")
