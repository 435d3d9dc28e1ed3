"""The Xray child is killed, frozen, orphaned and stopped; the relay's Xray is killed. Streams can be opened again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tests.integration.carrier.conftest import StartCarrier
from tests.integration.carrier.stand import Stand, binary
from tests.integration.carrier.streams import close, destination, echo, open_stream
from tunnel_whisperer.carrier import CarrierSettings, XrayCarrier
from tunnel_whisperer.carrier.api import RelayUsers
from tunnel_whisperer.config import RelayConfig
from tunnel_whisperer.errors import ConfigError, RetryableError

pytestmark = pytest.mark.usefixtures("no_child_left")


async def echoes(carrier: XrayCarrier, port: int) -> bool:
    """Whether a new stream carries a byte there and back."""
    try:
        reader, writer = await open_stream(carrier, port)
    except RetryableError:
        return False
    try:
        async with asyncio.timeout(5):
            writer.write(b"x")
            return await reader.read(1) == b"x"
    except (OSError, TimeoutError):
        return False
    finally:
        await close(writer)


async def until_it_echoes(carrier: XrayCarrier, port: int, within: float) -> float:
    """Try until a stream works, and return the seconds it took."""
    began = time.monotonic()
    async with asyncio.timeout(within):
        while not await echoes(carrier, port):
            await asyncio.sleep(0.05)
    return time.monotonic() - began


def command_line(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_text().split("\0")


def runs(pid: int) -> bool:
    """Whether it is there and no zombie, whose command line is empty."""
    try:
        return "run" in command_line(pid)
    except FileNotFoundError:
        return False


def contents(path: Path) -> str:
    return path.read_text()


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def pid_of(carrier: XrayCarrier) -> int:
    pid = carrier.status()["pid"]
    assert isinstance(pid, int)
    return pid


async def test_a_killed_child_is_replaced(stand: Stand, start_carrier: StartCarrier) -> None:
    carrier = await start_carrier(stand.settings(stand.identity("server")))
    async with destination(echo) as port:
        reader, writer = await open_stream(carrier, port)
        first = pid_of(carrier)
        os.kill(first, signal.SIGKILL)
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        await close(writer)
        await until_it_echoes(carrier, port, within=5)
    status = carrier.status()
    assert status["state"] == "ready"
    assert status["restarts"] == 1
    assert status["last_error"] is None
    assert status["pid"] != first


async def test_a_frozen_child_is_found_and_replaced(stand: Stand, start_carrier: StartCarrier) -> None:
    carrier = await start_carrier(stand.settings(stand.identity("server")))
    async with destination(echo) as port:
        first = pid_of(carrier)
        os.kill(first, signal.SIGSTOP)
        took = await until_it_echoes(carrier, port, within=15)
        assert took < 10, "the promise is 10 s for any dead path"
        assert pid_of(carrier) != first
        with pytest.raises(ProcessLookupError):
            os.kill(first, 0)


async def test_a_killed_relay_ends_the_streams_and_new_ones_work(stand: Stand, start_carrier: StartCarrier) -> None:
    identity = stand.identity("server")
    carriers = [await start_carrier(stand.settings(identity, profile)) for profile in ("h2", "h1")]
    async with destination(echo) as port:
        streams = [await open_stream(carrier, port) for carrier in carriers]
        for reader, writer in streams:
            writer.write(b"x")
            assert await reader.readexactly(1) == b"x"
        await stand.kill_xray()
        async with asyncio.timeout(2):
            for reader, writer in streams:
                with contextlib.suppress(ConnectionError):
                    assert await reader.read() == b""
                await close(writer)
        for carrier in carriers:
            assert not await echoes(carrier, port)
            await asyncio.sleep(0.2)
            assert carrier.status()["last_error"] == "the entry /tw/acme is not up at the relay"
        await stand.start_xray()
        for carrier in carriers:
            await until_it_echoes(carrier, port, within=5)


async def test_a_restart_while_the_api_is_in_use(stand: Stand, start_carrier: StartCarrier) -> None:
    """gRPC has threads of its own; starting a child must neither disturb them nor be disturbed."""
    carrier = await start_carrier(stand.settings(stand.identity("server")))
    users = RelayUsers(f"127.0.0.1:{stand.api_port}")
    stop = asyncio.Event()

    async def use() -> int:
        rounds = 0
        while not stop.is_set():
            await users.change([(f"user-{rounds}-{n}", f"00000000-0000-4000-8000-{n:012d}") for n in range(20)])
            rounds += 1
        return rounds

    using = asyncio.create_task(use())
    async with destination(echo) as port:
        for _ in range(3):
            os.kill(pid_of(carrier), signal.SIGKILL)
            await asyncio.sleep(0.1)
            await until_it_echoes(carrier, port, within=10)
    stop.set()
    assert await using > 3


async def test_stopping_ends_even_a_frozen_child(stand: Stand) -> None:
    with tempfile.TemporaryDirectory(prefix="tw-run-") as runtime:
        carrier = XrayCarrier(stand.settings(stand.identity("server")), Path(runtime), binary("xray"))
        running = asyncio.create_task(carrier.run())
        await carrier.wait_ready()
        pid = pid_of(carrier)
        os.kill(pid, signal.SIGSTOP)
        began = time.monotonic()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert time.monotonic() - began < 4
        assert carrier.status()["state"] == "stopped"
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
        with pytest.raises(RetryableError, match="the carrier is stopped"):
            await open_stream(carrier, 1)


ORPHAN = """
import asyncio, sys
from pathlib import Path
from tunnel_whisperer.carrier import CarrierSettings, XrayCarrier
from tunnel_whisperer.config import RelayConfig

async def main(identity, runtime, xray):
    settings = CarrierSettings.for_entry(RelayConfig("relay.invalid"), "acme", Path(identity))
    carrier = XrayCarrier(settings, Path(runtime), Path(xray))
    running = asyncio.create_task(carrier.run())
    await carrier.wait_ready()
    while not running.done():
        print(carrier.status()["pid"], flush=True)
        await asyncio.sleep(0.2)

asyncio.run(main(*sys.argv[1:]))
"""


async def test_no_orphan_is_left_when_we_are_killed(stand: Stand) -> None:
    with tempfile.TemporaryDirectory(prefix="tw-run-") as runtime:
        command = [sys.executable, "-c", ORPHAN, str(stand.identity("server")), runtime, str(binary("xray"))]
        process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
        assert process.stdout
        pid = int(await process.stdout.readline())
        assert runs(pid)
        process.kill()
        await process.wait()
        async with asyncio.timeout(2):
            while runs(pid):
                await asyncio.sleep(0.02)


async def test_a_child_is_not_thought_frozen_when_it_was_us(stand: Stand) -> None:
    """All deadlines have passed when a stopped process goes on, though the child answered in time."""
    with tempfile.TemporaryDirectory(prefix="tw-run-") as runtime:
        command = [sys.executable, "-c", ORPHAN, str(stand.identity("server")), runtime, str(binary("xray"))]
        process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
        assert process.stdout
        try:
            first = await process.stdout.readline()
            await asyncio.sleep(2)
            process.send_signal(signal.SIGSTOP)
            await asyncio.sleep(8)
            process.send_signal(signal.SIGCONT)
            seen = [await process.stdout.readline() for _ in range(40)]
        finally:
            process.kill()
            await process.wait()
        assert set(seen) == {first}


async def test_what_cannot_work_is_said_at_once(stand: Stand, tmp_path: Path) -> None:
    settings = stand.settings(stand.identity("server"))
    with pytest.raises(ConfigError, match="there is no Xray that we may run"):
        await XrayCarrier(settings, tmp_path, tmp_path / "xray").run()
    settings.identity.tls_key.chmod(0o644)
    with pytest.raises(ConfigError, match=r"tls.key: holds a secret but has mode 0644 \(chmod 0640 "):
        await XrayCarrier(settings, tmp_path, binary("xray")).run()


async def test_a_configuration_that_xray_refuses_is_told_in_its_words(stand: Stand) -> None:
    relay = RelayConfig("localhost", roots_file=Path("/nonexistent/roots.pem"))
    settings = CarrierSettings.for_entry(relay, "acme", stand.identity("server"))
    with tempfile.TemporaryDirectory(prefix="tw-run-") as runtime:
        carrier = XrayCarrier(settings, Path(runtime), binary("xray"))
        running = asyncio.create_task(carrier.run())
        async with asyncio.timeout(5):
            while not carrier.status()["last_error"]:
                await asyncio.sleep(0.05)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    error = carrier.status()["last_error"]
    assert "ended with exit code 23" in error
    assert "open /nonexistent/roots.pem: no such file or directory" in error


async def test_secrets_are_in_a_private_file_and_not_among_the_arguments(
    stand: Stand, start_carrier: StartCarrier
) -> None:
    carrier = await start_carrier(stand.settings(stand.identity("server")))
    arguments = command_line(pid_of(carrier))
    assert stand.server_uuid not in " ".join(arguments)
    config = Path(arguments[3])
    assert stand.server_uuid in contents(config)
    assert mode(config) == 0o600
    assert mode(config.parent / "carrier.sock") == 0o600
