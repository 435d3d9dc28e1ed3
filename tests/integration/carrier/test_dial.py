"""`tw relay dial` by hand, and as the ProxyCommand of OpenSSH."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from pathlib import Path

import asyncssh
import pytest
import yaml

from tests.integration.carrier.stand import HOST, TENANT, Stand, binary, free_port
from tests.integration.carrier.streams import Handler

TW = Path(sys.executable).with_name("tw")


@contextlib.asynccontextmanager
async def sshd_of(stand: Stand, handler: Handler) -> AsyncIterator[None]:
    """Have something at the relay's port 22."""
    server = await asyncio.start_server(handler, "127.0.0.1", stand.ssh_port)
    try:
        yield
    finally:
        server.close()


@pytest.fixture
def dial_yml(stand: Stand) -> Path:
    """The file of an operator, with relative paths as the control node has them."""
    directory = stand.identity("server")
    return write(directory, stand, stand.port)


def write(directory: Path, stand: Stand, port: int) -> Path:
    runtime = directory / "run"
    runtime.mkdir()
    path = directory / "dial.yml"
    relay = {"host": HOST, "port": port, "roots_file": str(stand.roots_file)}
    given = {"relay": relay, "entry": TENANT, "xray": str(binary("xray")), "runtime_dir": "run", "identity_dir": "."}
    path.write_text(yaml.safe_dump(given))
    return path


async def dial(config: Path) -> Process:
    return await asyncio.create_subprocess_exec(
        TW, "relay", "dial", "--config", config, stdin=PIPE, stdout=PIPE, stderr=PIPE
    )


def left_behind(config: Path) -> list[str]:
    return os.listdir(config.parent / "run")


async def test_a_banner_comes_soon_and_the_far_end_ends_it(stand: Stand, dial_yml: Path) -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-test\r\n" + await reader.readexactly(5))
        await writer.drain()
        writer.close()

    async with sshd_of(stand, greet):
        began = time.monotonic()
        process = await dial(dial_yml)
        assert process.stdin
        process.stdin.write(b"hello")
        out, err = await process.communicate()
        print(f"from start to end in {time.monotonic() - began:.2f} s")
    assert (process.returncode, out, err) == (0, b"SSH-2.0-test\r\nhello", b"")
    assert left_behind(dial_yml) == []


async def test_what_comes_after_our_input_has_ended_is_delivered_whole(stand: Stand, dial_yml: Path) -> None:
    answer = os.urandom(4 << 20)

    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(7)
        await asyncio.sleep(2)
        writer.write(answer)
        await writer.drain()
        writer.close()

    async with sshd_of(stand, reply):
        process = await dial(dial_yml)
        out, _ = await process.communicate(b"request")
    assert process.returncode == 0
    assert out == answer


async def test_it_ends_when_nobody_reads_its_output(stand: Stand, dial_yml: Path) -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"x" * 1000)
        await reader.read()
        writer.close()

    reading, writing = os.pipe()
    async with sshd_of(stand, greet):
        process = await asyncio.create_subprocess_exec(
            TW, "relay", "dial", "--config", dial_yml, stdin=PIPE, stdout=writing
        )
        os.close(writing)
        await asyncio.get_running_loop().run_in_executor(None, os.read, reading, 1000)
        os.close(reading)
        async with asyncio.timeout(5):
            assert await process.wait() == 0
    assert left_behind(dial_yml) == []


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
async def test_a_signal_ends_it_and_leaves_nothing(stand: Stand, dial_yml: Path, number: signal.Signals) -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"x")
        await reader.read()
        writer.close()

    async with sshd_of(stand, greet):
        process = await dial(dial_yml)
        assert process.stdout
        await process.stdout.readexactly(1)
        process.send_signal(number)
        async with asyncio.timeout(5):
            assert await process.wait() == 130
    assert left_behind(dial_yml) == []


async def test_a_relay_out_of_reach_is_told_in_one_line(stand: Stand) -> None:
    port = free_port()
    config = write(stand.identity("server"), stand, port)
    process = await dial(config)
    out, err = await process.communicate()
    assert (process.returncode, out) == (1, b"")
    assert err.decode() == f"tw: relay {HOST}: {HOST} refuses connections on port {port}\n"
    assert left_behind(config) == []


async def test_an_sshd_that_is_down_is_told_in_one_line(dial_yml: Path) -> None:
    process = await dial(dial_yml)
    out, err = await process.communicate(b"SSH-2.0-us\r\n")
    assert (process.returncode, out) == (1, b"")
    assert err.decode() == f"tw: relay {HOST}: the stream ended before anything came\n"


class _Server(asyncssh.SSHServer):
    def begin_auth(self, username: str) -> bool:
        return False


async def _cat(process: asyncssh.SSHServerProcess[bytes]) -> None:
    while data := await process.stdin.read(65536):
        process.stdout.write(data)
        await process.stdout.drain()
    process.exit(7)


async def test_ssh_takes_it_as_its_proxy_command(stand: Stand, dial_yml: Path) -> None:
    key = asyncssh.generate_private_key("ssh-ed25519")
    known_hosts = dial_yml.parent / "known_hosts"
    known_hosts.write_text(f"relay {key.export_public_key().decode()}")
    sent = os.urandom(1 << 20)
    server = await asyncssh.create_server(
        _Server, "127.0.0.1", stand.ssh_port, server_host_keys=[key], process_factory=_cat, encoding=None
    )
    options = [f"ProxyCommand={TW} relay dial --config {dial_yml}", f"UserKnownHostsFile={known_hosts}"]
    options += ["BatchMode=yes", "StrictHostKeyChecking=yes"]
    command = ["ssh", "-F", "none", *(word for option in options for word in ("-o", option)), "root@relay", "cat"]
    try:
        process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, stderr=PIPE)
        out, err = await process.communicate(sent)
        assert process.returncode == 7, err
        assert out == sent
    finally:
        server.close()
    async with asyncio.timeout(5):
        while left_behind(dial_yml):
            await asyncio.sleep(0.05)
