"""One connection to the embedded SSH server: who it is, the flows it may have, and what it may ask."""

import asyncio
import base64
import logging
from collections.abc import Mapping
from time import time
from typing import TYPE_CHECKING, Any

import asyncssh
from asyncssh.constants import OPEN_ADMINISTRATIVELY_PROHIBITED, OPEN_CONNECT_FAILED, OPEN_RESOURCE_SHORTAGE

from tunnel_whisperer.link import control_channel, instances, ssh
from tunnel_whisperer.link.control_channel import Allowance, ControlChannel
from tunnel_whisperer.link.flows import FlowGroup
from tunnel_whisperer.link.instances import Seat
from tunnel_whisperer.link.pump import Flow
from tunnel_whisperer.link.requests import Asker, refusal
from tunnel_whisperer.link.wire import Wire
from tunnel_whisperer.users.keys import read_public_key
from tunnel_whisperer.users.targets import Target
from tunnel_whisperer.words import count

if TYPE_CHECKING:
    from tunnel_whisperer.link.server import EmbeddedServer

CONNECT_DEADLINE = 10.0
"""Seconds a target has to accept a connection."""

FLOWS = 8192
"""So many flows may one connection have, so that one user cannot take all descriptors."""

Address = tuple[str, int]

_logger = logging.getLogger("tunnel_whisperer.server")


class Session(asyncssh.SSHServer):
    """What asyncssh asks about one connection; everything else that SSH can do is refused by its defaults."""

    def __init__(self, server: "EmbeddedServer") -> None:
        """Belong to `server`."""
        self._server = server
        self._conn: asyncssh.SSHServerConnection | None = None
        self._wire: Wire | None = None
        self._key: asyncssh.SSHKey | None = None
        self._flows: dict[Address, FlowGroup] = {}
        self._opening = 0
        self._channels: dict[ControlChannel, None] = {}
        self._allowance = Allowance(server.clock)
        self._enrolling = False
        self.user = ""
        self.known = False
        """Whether the user has proved who it is."""
        self.admitted = False
        """Whether it was let in then; a user may have one session too many."""
        self.leaving = False
        """Whether it has been told to go."""
        self.seat: Seat | None = None
        """Of which of the user's clients it is; known once it is logged in."""
        self.since = time()

    # -- the connection --

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        """Begin."""
        self._conn = conn
        self._wire = self._server.wire_of(conn)
        self._server.arrived(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._server.left(self, ssh.in_words(exc))

    def begin_auth(self, username: str) -> bool:
        """Everybody has to prove who they are, known names and unknown ones alike."""
        self.user = username
        return True

    def public_key_auth_supported(self) -> bool:
        """Keys are the only way in."""
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        """Compare with the user's key as it is now."""
        self._key = key
        return self._is_users_key()

    def auth_completed(self) -> None:
        """The user has proved who it is."""
        assert self._conn is not None
        self.known = True
        self.seat = instances.seat(str(self._conn.get_extra_info("client_version")))
        user = self._server.users.get(self.user)
        self._enrolling = user is not None and user.enrolment is not None
        self._server.logged_in(self)

    # -- flows --

    def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int) -> Any:
        """Open a flow to a target that the user may reach now."""
        assert self._conn is not None
        target = (dest_host, dest_port)
        self._require(target)
        if self._opening + sum(len(flows) for flows in self._flows.values()) >= FLOWS:
            raise asyncssh.ChannelOpenError(OPEN_RESOURCE_SHORTAGE, f"{FLOWS} connections are open already")
        self._opening += 1
        channel = self._conn.create_tcp_channel(window=ssh.window(self._server.flow_count), max_pktsize=ssh.PACKET)
        return channel, self._open(target)

    def permits(self, target: Address) -> bool:
        """Whether the user may reach `target` as things are now."""
        user = self._server.users.get(self.user)
        return (
            user is not None
            and user.permits(*target)
            and Target(target[0].lower(), target[1]).reachable(self._server.target_hosts)
        )

    def apply(self) -> None:
        """Follow a change of the users: leave when the user or its key is gone, cut what is not permitted any more."""
        if not self._is_users_key():
            # Who enrols has another key from now on, and is to hear of it yet; flows there are none.
            if not (self._enrolling and self._channels):
                self.end(asyncssh.DISC_NO_MORE_AUTH_METHODS_AVAILABLE, "this user's access has ended")
            return
        for target, flows in self._flows.items():
            if flows and not self.permits(target):
                _logger.info(
                    "%s: %s is not permitted any more: %s cut", self.user, _named(target), count(len(flows), "flow")
                )
                flows.cut()

    def _is_users_key(self) -> bool:
        user = self._server.users.get(self.user)
        data = None if self._key is None else self._key.public_data
        return user is not None and base64.b64decode(user.public_key.split()[1]) == data

    def _require(self, target: Address) -> None:
        if not self.permits(target):
            _logger.warning("%s: %s is not permitted", self.user, _named(target))
            raise asyncssh.ChannelOpenError(
                OPEN_ADMINISTRATIVELY_PROHIBITED, f"{_named(target)} is not permitted to {self.user}"
            )

    async def _open(self, target: Address) -> "asyncssh.SSHTCPSession[bytes]":
        flow = Flow()
        try:
            async with asyncio.timeout(CONNECT_DEADLINE):
                await asyncio.get_running_loop().create_connection(lambda: flow.socket_side, *target)
        except (OSError, ValueError) as error:  # TimeoutError is an OSError; ValueError: no host name at all
            flow.cut()
            _logger.info("%s: %s cannot be reached: %s", self.user, _named(target), ssh.in_words(error))
            raise asyncssh.ChannelOpenError(OPEN_CONNECT_FAILED, ssh.in_words(error)) from None
        finally:
            self._opening -= 1
        # Things may have changed while the target was answering. From here to the channel nothing waits.
        try:
            if self._conn is None or self._conn.is_closed():
                raise asyncssh.ChannelOpenError(OPEN_CONNECT_FAILED, ssh.LINK_CLOSED)
            self._require(target)
        except asyncssh.ChannelOpenError:
            flow.cut()
            raise
        assert self._wire is not None
        flow.ride(self._wire)
        flow.join(self._flows.setdefault(target, FlowGroup()))
        flow.join(self._server.flows)
        return flow.channel_side

    # -- requests --

    def session_requested(self) -> Any:
        """Open a control channel; nothing else can be done with a session."""
        assert self._conn is not None
        if self._server.requests is None or self.leaving:
            return False
        if len(self._channels) >= control_channel.CHANNELS:
            raise asyncssh.ChannelOpenError(OPEN_RESOURCE_SHORTAGE, f"{len(self._channels)} are open already")
        made = ControlChannel(self._answer, refusal, self._server.own, self._allowance, self._channel_closed)
        self._channels[made] = None
        # Bytes, not texts: what is no UTF-8 would otherwise end the whole connection.
        channel = self._conn.create_server_channel(None, "strict", control_channel.WINDOW, ssh.PACKET)
        return channel, made

    async def _answer(self, line: bytes) -> bytes:
        assert self._server.requests is not None
        assert self._key is not None
        key = read_public_key(self._key.export_public_key().decode())
        return await self._server.requests.answer(Asker(self.user, key), line)

    def _channel_closed(self, channel: ControlChannel) -> None:
        self._channels.pop(channel, None)
        if self.known and not self.leaving:
            self.apply()

    # -- the server's view --

    @property
    def silent(self) -> float:
        """Seconds since the far end last gave a sign of life."""
        return self._wire.silent if self._wire is not None else 0.0

    def ping(self) -> None:
        """Ask the far end for a sign of life."""
        if self._conn is not None and not self._conn.is_closed():
            self._conn.create_task(ssh.ping(self._conn))

    def end(self, code: int, reason: str) -> None:
        """Close the connection and all its flows, telling the far end why."""
        self.leaving = True
        for flows in self._flows.values():
            flows.cut()
        if self._conn is not None:
            self._conn.disconnect(code, reason)

    def abort(self) -> None:
        """Drop the connection and all its flows."""
        self.leaving = True
        if self._conn is not None:
            self._conn.abort()

    async def closed(self) -> None:
        """Wait until the connection is gone."""
        if self._conn is not None:
            await self._conn.wait_closed()

    def status(self) -> Mapping[str, Any]:
        """Tell who is here and what was carried."""
        groups = self._flows.values()
        return {
            "user": self.user,
            "since": self.since,
            "flows": sum(len(group) for group in groups),
            "sent": sum(group.sent for group in groups),
            "received": sum(group.received for group in groups),
        }


def _named(target: Address) -> str:
    """Name a target in a message; the far end chose the text."""
    host = target[0] if target[0].isprintable() else ascii(target[0])
    return f"{host[:80]}:{target[1]}"
