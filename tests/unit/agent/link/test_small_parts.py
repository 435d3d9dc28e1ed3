"""Windows, failures in words, who has a port, what a reload may change, and telling systemd."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import asyncssh
import pytest

from tunnel_whisperer import reloading
from tunnel_whisperer.config import RelayConfig, ServeConfig
from tunnel_whisperer.errors import RetryableError
from tunnel_whisperer.link import listening, ssh
from tunnel_whisperer.link.listening import holder
from tunnel_whisperer.notify import Notifier


def test_windows_share_a_budget() -> None:
    assert ssh.window(0) == ssh.WINDOW
    assert ssh.window(100_000) == ssh.WINDOW_FLOOR
    assert [ssh.window(flows) for flows in range(5000)] == sorted((ssh.window(n) for n in range(5000)), reverse=True)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (None, "closed"),
        (asyncssh.HostKeyNotVerifiable("Host key is not trusted"), "its host key is not the pinned one"),
        (asyncssh.PermissionDenied("Permission denied"), "it does not accept our key"),
        (asyncssh.ConnectionLost("Connection lost"), "the connection was cut"),
        (ConnectionResetError(104, "x"), "the connection was cut"),
        (asyncssh.ProtocolError("Bad packet"), "bad packet"),
        (asyncssh.DisconnectError(12, "Alice is elsewhere (error 12)"), "alice is elsewhere"),
        (TimeoutError(), "no answer in time"),
        (ConnectionRefusedError(111, "x"), "Connection refused"),
        (RetryableError("the carrier is starting"), "the carrier is starting"),
    ],
)
def test_failures_are_told_in_words(error: BaseException | None, words: str) -> None:
    assert ssh.in_words(error) == words


def test_the_holder_of_a_port_is_named() -> None:
    own = f"{Path('/proc/self/comm').read_text().strip()} (pid {os.getpid()})"
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert holder("127.0.0.1", port) == own
        assert holder("localhost", port) == own
        assert holder("0.0.0.0", port) == own
        assert holder("127.0.0.2", port) is None
    assert holder("127.0.0.1", port) is None


def test_a_person_is_told_the_user_that_holds_a_port_and_the_process_when_it_is_their_own() -> None:
    """What `tw connect` of an ordinary user sees: looked at by a process that gave up what root may do."""
    person = os.geteuid() == 0
    leave = "os.setgroups([]); os.setgid(65534); os.setuid(65534)" if person else ""
    held = "mine = socket.create_server(('127.0.0.1', 0)); here = mine.getsockname()[1]"
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        asked = f"print(holder('127.0.0.1', {port}), holder('127.0.0.1', here), os.getpid(), sep='\\n')"
        script = "\n".join([inspect.getsource(listening), leave, held, asked])
        told = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True, check=True)
    others, own, pid = told.stdout.splitlines()
    assert own.endswith(f" (pid {pid})")
    if person:
        assert others == "a process of user root"
    else:
        assert others.endswith(f" (pid {os.getpid()})")


def test_the_holder_is_a_user_where_processes_are_hidden(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "tcp").write_text(
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
        "   0: 0100007F:1538 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0\n"
        "   1: 00000000:1539 00000000:0000 0A 00000000:00000000 00:00000000 00000000 65431        0 4712 1 0 100 0\n"
        "   2: 0100007F:153A 0100007F:0001 01 00000000:00000000 00:00000000 00000000     0        0 4713 1 0 100 0\n"
    )
    assert holder("127.0.0.1", 5432, tmp_path) == "a process of user root"
    assert holder("127.0.0.1", 5433, tmp_path) == "a process of user 65431"
    assert holder("127.0.0.1", 5434, tmp_path) is None


def test_a_reload_takes_what_is_live_and_names_the_rest() -> None:
    live = {"relay_host_keys", "relay.links"}
    old = ServeConfig(tenant="acme", relay=RelayConfig("relay.example"), relay_host_keys=("ssh-ed25519 A",))
    new = replace(old, relay=RelayConfig("other.example", links=4), relay_host_keys=("ssh-ed25519 B",), ssh_port=2200)
    changed, restart = reloading.differences(old, new, live)
    assert (changed, restart) == (["relay.links", "relay_host_keys"], ["relay.host", "ssh_port"])
    taken = reloading.take(old, new, live)
    assert taken == replace(old, relay=RelayConfig("relay.example", links=4), relay_host_keys=("ssh-ed25519 B",))
    assert reloading.differences(taken, new, live) == ([], ["relay.host", "ssh_port"])


async def test_the_service_manager_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_leaks: None) -> None:
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        manager.settimeout(2)
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        monkeypatch.setenv("WATCHDOG_USEC", "200000")
        notifier = Notifier()
        notifier.ready("up: 2 of 2 links")
        assert manager.recv(100) == b"READY=1\nSTATUS=up: 2 of 2 links"
        notifier.status("down: cut")
        notifier.status("down: cut")
        assert manager.recv(100) == b"STATUS=down: cut"
        hangs = asyncio.Event()

        async def answer() -> None:
            if hangs.is_set():
                await asyncio.get_running_loop().create_future()

        beat = asyncio.create_task(notifier.beat(answer))
        for _ in range(3):
            assert await asyncio.to_thread(manager.recv, 100) == b"WATCHDOG=1"
        hangs.set()
        await asyncio.sleep(0.1)
        manager.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while manager.recv(100):
                pass
        await asyncio.sleep(0.3)
        with pytest.raises(BlockingIOError):
            manager.recv(100)
        beat.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await beat


async def test_nobody_to_tell_is_fine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    monkeypatch.setenv("WATCHDOG_USEC", "200000")
    monkeypatch.setenv("WATCHDOG_PID", "1")
    notifier = Notifier()
    notifier.ready("x")
    assert notifier.watchdog is None
    await notifier.beat(asyncio.Queue[None]().join)
