"""Runs `tw` in this process, and daemons that only answer."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tunnel_whisperer import cli
from tunnel_whisperer.control import ControlServer


class Tw:
    """Runs `tw` and keeps what it said."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.code = 0
        self.out = ""
        self.err = ""

    def __call__(self, *arguments: object, code: int = 0) -> str:
        """Run a command that is to end with `code`; return what it printed."""
        self._capsys.readouterr()
        self.code = cli.run([str(argument) for argument in arguments])
        self.out, self.err = self._capsys.readouterr()
        assert self.code == code, self.out + self.err
        return self.out

    def data(self, *arguments: object, code: int = 0) -> Any:
        """Run a command with --json."""
        return json.loads(self(*arguments, "--json", code=code))

    def refused(self, *arguments: object, code: int = 2) -> str:
        """Run a command that is to fail; return its one line without the name in front."""
        self(*arguments, code=code)
        assert self.out == ""
        assert self.err.startswith("tw: ")
        assert self.err.count("\n") == 1
        return self.err.removeprefix("tw: ").rstrip("\n")


@contextlib.contextmanager
def answering(runtime_dir: Path, status: Mapping[str, Any]) -> Iterator[list[str]]:
    """Have a daemon that says this of itself; gives a list of the other things it was asked."""
    runtime_dir.mkdir()
    asked: list[str] = []
    started, loops = threading.Event(), []

    async def tell() -> Mapping[str, Any]:
        return status

    async def reload() -> Mapping[str, Any]:
        asked.append("reload")
        return {"changed": ["bridge postgres changed"], "restart": []}

    async def live() -> None:
        task = asyncio.current_task()
        assert task
        loops.append((asyncio.get_running_loop(), task))
        with contextlib.suppress(asyncio.CancelledError):
            await ControlServer(runtime_dir, {"status": tell, "reload": reload}).run(started.set)

    thread = threading.Thread(target=lambda: asyncio.run(live()))
    thread.start()
    try:
        assert started.wait(5)
        yield asked
    finally:
        loop, task = loops[0]
        loop.call_soon_threadsafe(task.cancel)
        thread.join(5)
