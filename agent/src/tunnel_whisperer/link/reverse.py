"""The server's links: each is logged in to the sshd of the tenant's cell and holds one reverse forward to us."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import asyncssh

from tunnel_whisperer.errors import RetryableError
from tunnel_whisperer.link import ssh
from tunnel_whisperer.link.link import LOOPBACK, Held, Link, Login, Surroundings

CLIENT_WINDOW = 4 * 1024 * 1024
"""What one link of a client may have under way between the relay and us. The relay's sshd buffers the rest of it: more
costs it CPU out of all proportion (twice the window, up to eight times) and makes a small request wait behind it.
"""


class ReverseLink(Link):
    """One link of the server. What comes to its port at the relay is handed to what `accept` returns."""

    def __init__(
        self, number: int, login: Login, surroundings: Surroundings, accept: Callable[[], asyncio.Protocol]
    ) -> None:
        """Log in to the cell; `accept` raises ConnectionRefusedError when nobody is to come in."""
        super().__init__(number, login, surroundings)
        self._accept = accept

    async def _establish(self) -> Held:
        held = await self._log_in(self._around.ports.ssh)
        try:
            async with asyncio.timeout(self._timing.attempt):
                held.port = await self._listen(held.conn)
        except BaseException:
            held.conn.abort()
            await held.conn.wait_closed()
            raise
        return held

    async def _listen(self, conn: asyncssh.SSHClientConnection) -> int:
        """Take the first free port of the cell."""
        ports, taken = self._around.ports.reverse, self._siblings_ports()
        for port in ports:
            if port in taken:
                continue
            try:
                await conn.create_server(
                    cast(Any, self._session), LOOPBACK, port, window=CLIENT_WINDOW, max_pktsize=ssh.PACKET
                )
            except asyncssh.ChannelListenError:
                continue  # a link that froze keeps its port for a while
            return port
        raise RetryableError(
            f"the relay lets us have none of its ports {ports[0]}-{ports[-1]}",
            hint="links that froze free theirs within seconds",
        )

    def _session(self, orig_host: str, orig_port: int) -> asyncio.Protocol:
        """Take a connection that came to our port."""
        try:
            return self._accept()
        except ConnectionRefusedError as error:
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, str(error)) from None
