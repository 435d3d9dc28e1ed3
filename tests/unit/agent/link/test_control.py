"""The control socket: answers, refusals, and who may be there."""

from __future__ import annotations

import asyncio
import contextlib
import stat
import tempfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tunnel_whisperer.control import ControlServer, Handler, ask
from tunnel_whisperer.errors import ConfigError, DaemonUnreachableError, RetryableError, TwError


async def status() -> Mapping[str, Any]:
    return {"state": "up"}


async def reload() -> Mapping[str, Any]:
    raise ConfigError("is no YAML", where="serve.yml")


@pytest.fixture
async def runtime_dir(no_leaks: None) -> AsyncIterator[Path]:
    with tempfile.TemporaryDirectory(prefix="tw-") as directory:
        async with running(Path(directory)):
            yield Path(directory)


@contextlib.asynccontextmanager
async def running(directory: Path, **more: Handler) -> AsyncIterator[None]:
    started = asyncio.Event()
    handlers = {"status": status, "reload": reload, **more}
    task = asyncio.create_task(ControlServer(directory, handlers).run(started.set))
    waiting = asyncio.create_task(started.wait())
    await asyncio.wait((task, waiting), return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    try:
        if task.done():
            await task
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, waiting, return_exceptions=True)


async def test_answers_and_refusals(runtime_dir: Path) -> None:
    path = runtime_dir / "control.sock"
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    assert await asyncio.to_thread(ask, path, "status") == {"state": "up"}
    with pytest.raises(TwError, match="is no YAML") as failed:
        await asyncio.to_thread(ask, path, "reload")
    assert failed.value.exit_code == ConfigError.exit_code
    with pytest.raises(TwError, match="not understood; operations: reload, status"):
        await asyncio.to_thread(ask, path, "reboot")


@pytest.mark.parametrize("error", [ValueError("x"), TimeoutError(), ConnectionError(), KeyError("x")])
async def test_a_handler_that_fails_in_an_unforeseen_way_is_told_of(
    no_leaks: None, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    async def broken() -> Mapping[str, Any]:
        raise error

    with tempfile.TemporaryDirectory(prefix="tw-") as directory:
        async with running(Path(directory), broken=broken):
            path = Path(directory) / "control.sock"
            with pytest.raises(TwError, match="broken failed in an unforeseen way"):
                await asyncio.to_thread(ask, path, "broken")
            assert await asyncio.to_thread(ask, path, "status") == {"state": "up"}
    assert [record.exc_info[1] for record in caplog.records if record.exc_info] == [error]


@pytest.mark.parametrize("line", [b"\n", b"{}\n", b"[1]\n", b'"x"\n', b"\xff\xfe\n", b'{"op": ["status"]}\n'])
async def test_nonsense_is_answered(runtime_dir: Path, line: bytes) -> None:
    reader, writer = await asyncio.open_unix_connection(str(runtime_dir / "control.sock"))
    writer.write(line)
    assert b'"ok": false' in await reader.readline()
    writer.close()
    await writer.wait_closed()


async def test_a_line_without_end_is_hung_up_on(runtime_dir: Path) -> None:
    reader, writer = await asyncio.open_unix_connection(str(runtime_dir / "control.sock"))
    with contextlib.suppress(ConnectionError):
        writer.write(b"x" * 200_000)
        await writer.drain()
        assert await reader.read() == b""
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    assert await asyncio.to_thread(ask, runtime_dir / "control.sock", "status") == {"state": "up"}


async def test_an_answer_that_is_no_json_is_told_of(no_leaks: None) -> None:
    async def odd() -> Mapping[str, Any]:
        return {"path": Path("/")}

    with tempfile.TemporaryDirectory(prefix="tw-") as directory:
        async with running(Path(directory), odd=odd):
            with pytest.raises(TwError, match="odd failed in an unforeseen way"):
                await asyncio.to_thread(ask, Path(directory) / "control.sock", "odd")


async def test_one_daemon_each(runtime_dir: Path) -> None:
    with pytest.raises(RetryableError, match="another daemon already runs here"):
        async with running(runtime_dir):
            pass
    assert await asyncio.to_thread(ask, runtime_dir / "control.sock", "status") == {"state": "up"}


async def test_what_a_killed_daemon_left_is_cleared_away(no_leaks: None) -> None:
    with tempfile.TemporaryDirectory(prefix="tw-") as directory:
        path = Path(directory) / "control.sock"
        with pytest.raises(DaemonUnreachableError, match="not running"):
            await asyncio.to_thread(ask, path, "status")
        path.touch()
        async with running(Path(directory)):
            assert await asyncio.to_thread(ask, path, "status") == {"state": "up"}
        assert not path.exists()
