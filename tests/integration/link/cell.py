"""A relay's cell without the relay: a real sshd as it runs there, on ports of this machine's loopback."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

import asyncssh

from tunnel_whisperer.errors import RetryableError
from tunnel_whisperer.link.link import CellPorts

P = TypeVar("P", bound=asyncio.BaseProtocol)

CONFIG = """
ListenAddress 127.0.0.1:{ports.ssh}
HostKey {home}/host_key
AuthorizedKeysFile {home}/authorized_keys
AllowUsers {user}
PidFile none
UsePAM no
StrictModes no
AuthenticationMethods publickey
PasswordAuthentication no
KbdInteractiveAuthentication no
MaxSessions 0
PermitTTY no
X11Forwarding no
AllowAgentForwarding no
AllowStreamLocalForwarding no
AllowTcpForwarding yes
GatewayPorts no
ClientAliveInterval 3
ClientAliveCountMax 2
MaxStartups 64
LoginGraceTime 10
"""


def free_ports(count: int) -> int:
    """Return the first of so many ports in a row that nobody listens on, below those that connections take."""
    while True:
        first = random.randrange(15000, 32000 - count)
        taken = []
        for port in range(first, first + count):
            with socket.socket() as probe:
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError:
                    taken.append(port)
        if not taken:
            return first


class Cell:
    """Start with `start`; `dialer` leads in. What is frozen or killed can be started again on the same ports."""

    def __init__(self, xray_api: int | None = None) -> None:
        first = free_ports(11)
        self.free_port = first + 10
        self.ports = CellPorts(first, xray_api or first + 1, tuple(range(first + 2, first + 10)))
        self.user = "nobody" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        self.key = asyncssh.generate_private_key("ssh-ed25519")
        self.host_key = asyncssh.generate_private_key("ssh-ed25519")
        self.home = Path(tempfile.mkdtemp(prefix="tw-cell-"))
        self.dialer = Dialer()
        self.process: subprocess.Popen[bytes] | None = None
        self._write()

    @property
    def host_keys(self) -> list[asyncssh.SSHKey]:
        return [asyncssh.import_public_key(self.host_key.export_public_key())]

    def _write(self) -> None:
        listens = ",".join(f'permitlisten="127.0.0.1:{port}"' for port in self.ports.reverse)
        options = f'restrict,port-forwarding,{listens},permitopen="127.0.0.1:{self.ports.xray_api}"'
        (self.home / "host_key").write_bytes(self.host_key.export_private_key())
        (self.home / "host_key").chmod(0o600)
        (self.home / "authorized_keys").write_text(f"{options} {self.key.export_public_key().decode()}")
        (self.home / "sshd_config").write_text(CONFIG.format(ports=self.ports, home=self.home, user=self.user))
        if os.geteuid() == 0:
            for path in (self.home, *self.home.iterdir()):
                shutil.chown(path, self.user)

    async def start(self) -> None:
        """Start sshd, as a user of its own as in a cell, and wait until it answers."""
        self._launch()
        for _ in range(100):
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.ports.ssh)
            except ConnectionRefusedError:
                await asyncio.sleep(0.02)
            else:
                writer.transport.abort()
                return
        raise AssertionError((self.home / "log").read_text())

    def _launch(self) -> None:
        program = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
        assert program, "these tests need OpenSSH's sshd (Debian: openssh-server)"
        command = [program, "-D", "-e", "-f", str(self.home / "sshd_config")]
        demote = {"user": self.user, "group": "nogroup", "extra_groups": ("shadow",)} if os.geteuid() == 0 else {}
        with (self.home / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, **demote)  # type: ignore[call-overload]  # a mapping

    def freeze(self) -> None:
        """Freeze sshd and all its connections: nothing answers, nothing is closed."""
        self._signal_all(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal_all(signal.SIGCONT)

    def stop(self) -> None:
        """Kill sshd and all its connections."""
        if self.process is not None:
            self._signal_all(signal.SIGKILL)
            self.process.wait()
            self.process = None

    def close(self) -> None:
        """Stop, and let pytest show what sshd said if the test failed."""
        self.stop()
        print((self.home / "log").read_text())
        shutil.rmtree(self.home)

    def _signal_all(self, number: int) -> None:
        """Each connection has a session of its own, so a signal to the group would not reach it."""
        assert self.process is not None
        for pid in (*descendants(self.process.pid), self.process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


class Dialer:
    """The simplest way into a cell: plain TCP. It can be closed, as a network can, and then lets nothing through."""

    def __init__(self) -> None:
        self.closed = False
        self.dialed: list[int] = []

    async def create_connection(
        self, protocol_factory: Callable[[], P], host: str, port: int
    ) -> tuple[asyncio.Transport, P]:
        self.dialed.append(port)
        if self.closed:
            raise RetryableError("the network is down")
        connection: list[_Late[P]] = []

        def late() -> _Late[P]:
            connection[:] = [_Late(protocol_factory)]
            return connection[0]

        loop = asyncio.get_running_loop()
        try:
            transport, _ = await loop.create_connection(late, host, port)
        except OSError:
            # As a carrier does it: a destination that refuses shows as the end of the stream.
            protocol, transport = protocol_factory(), _Ended()
            protocol.connection_made(transport)
            loop.call_soon(protocol.connection_lost, None)
            return transport, protocol
        assert connection[0].protocol is not None
        return transport, connection[0].protocol


class _Late(asyncio.Protocol, Generic[P]):
    """Makes the protocol only when there is a connection: uvloop makes one for those that fail as well."""

    def __init__(self, factory: Callable[[], P]) -> None:
        self._factory = factory
        self.protocol: P | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.protocol = self._factory()
        transport.set_protocol(self.protocol)
        self.protocol.connection_made(transport)


class _Ended(asyncio.Transport):
    """A connection that has ended already."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        pass

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def abort(self) -> None:
        pass


def descendants(pid: int) -> list[int]:
    """All processes below one, the youngest first; they come and go meanwhile."""
    found: list[int] = []
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in map(int, (task / "children").read_text().split()):
                found += [*descendants(child), child]
    return found
