# Copyright: (c) The Tunnel Whisperer maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The control node's cache: folders named after what made them, made once, whole or not at all."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

COLLECTION = Path(__file__).parents[2]
"""The folder this collection lies in."""

_REPORT_EVERY = 20.0
_TAIL = 12


class PartError(Exception):
    """A part cannot be had; the message says which, why and what to do."""


@dataclass(frozen=True)
class Cache:
    """Folders under one root. `say` shows a line to whoever waits."""

    root: Path
    say: Callable[[str], None]

    def folder(self, name: str, what: str, make: Callable[[Path], None]) -> Path:
        """Return the folder `name`; have it made first where it is missing, by one run at a time."""
        path = self.root / name
        if path.is_dir():
            return path
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with self._lock(name, what):
                if not path.is_dir():
                    self._make(path, make)
        except OSError as error:
            raise PartError(f"{what}: {error}; the cache is {self.root} (control_cache_dir)") from error
        return path

    def run(self, argv: Sequence[str | Path], *, what: str, cwd: Path, env: Mapping[str, str] | None = None) -> None:
        """Run a command, say now and then that it still runs; raises PartError with the end of what it printed."""
        started = reported = time.monotonic()
        log = cwd / ".log"
        with log.open("wb") as output:
            child = subprocess.Popen(
                [str(word) for word in argv],
                cwd=cwd,
                env={**os.environ, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            try:
                while child.poll() is None:
                    time.sleep(0.1)
                    if time.monotonic() - reported > _REPORT_EVERY:
                        reported = time.monotonic()
                        self.say(f"{what}: {reported - started:.0f} s so far")
            finally:
                if child.poll() is None:
                    child.kill()
                    child.wait()
        if child.returncode:
            tail = log.read_text("utf-8", "replace").strip().splitlines()[-_TAIL:]
            raise PartError(f"{what} failed: {argv[0]} ended with {child.returncode}:\n" + "\n".join(tail))
        log.unlink()

    def _make(self, path: Path, make: Callable[[Path], None]) -> None:
        part = path.with_name(f".{path.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        try:
            make(part)
            part.rename(path)
        finally:
            shutil.rmtree(part, ignore_errors=True)

    @contextmanager
    def _lock(self, name: str, what: str) -> Iterator[None]:
        waited = False
        with (self.root / f".{name}.lock").open("w") as file:
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if not waited:
                        self.say(f"{what}: another process makes it, waiting for that")
                        waited = True
                    time.sleep(0.3)
            yield
