"""The embedded SSH server: where clients' links end.

Connections come over the local listener (T6) and over the server's own links; the latter need no socket in between,
as an SSH channel is a stream as well. Who may come in, and where to, is looked up in the users as they are just then.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Coroutine, Hashable, Mapping
from typing import Any, cast

import asyncssh

from tunnel_whisperer.errors import RetryableError
from tunnel_whisperer.link import instances, ssh
from tunnel_whisperer.link.flows import FlowGroup
from tunnel_whisperer.link.instances import Why
from tunnel_whisperer.link.requests import Engine, Requests
from tunnel_whisperer.link.session import Session
from tunnel_whisperer.link.sessions import Sessions
from tunnel_whisperer.link.states import Clock
from tunnel_whisperer.link.wire import Wire
from tunnel_whisperer.users.model import User, UserSet

LISTEN = "127.0.0.1"
LOGIN_DEADLINE = 10.0
STRANGERS = 64
"""So many connections may be logging in at once; one more ends the oldest, so that a flood does not lock others out."""
PING_AFTER = 4.0
DEAD_AFTER = 9.0
RECENT = 600.0
"""Users seen within so many seconds count as being about to connect."""

STOPPING = 5.0
"""Seconds that requests under way have to be answered when the server stops."""

_WORDS: Mapping[Why, str] = {
    "elsewhere": "{} is connected from elsewhere; single session",
    "taken over": "{} has connected from elsewhere since; single session",
}
_TAKE_OVER = ": start this client anew to take over"

_logger = logging.getLogger("tunnel_whisperer.server")


class EmbeddedServer:
    """Accepts the users in `users` (see `apply`), and nobody else."""

    def __init__(
        self,
        host_key: asyncssh.SSHKey,
        port: int,
        users: Mapping[str, User],
        *,
        engine: Engine | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        """Prepare only; `start` listens. `engine` grants what users ask for over their control channels."""
        self._host_key = host_key
        self._port = port
        self.clock = clock
        self.requests = None if engine is None else Requests(engine)
        self._factory: Callable[[], asyncio.BaseProtocol] | None = None
        self._acceptor: asyncssh.SSHAcceptor | None = None
        self._wires: dict[asyncssh.SSHServerConnection, Wire] = {}
        self._sessions = Sessions()
        self._tasks: set[asyncio.Task[None]] = set()
        self._seen: dict[str, float] = {}
        self._turned_away: dict[str, Hashable] = {}
        self.users = users
        self.target_hosts: Collection[str] = ()
        """Hosts behind this one that users may reach, where they are permitted to."""
        self.flows = FlowGroup()

    # -- life --

    async def start(self) -> None:
        """Listen; raises RetryableError while the port is taken."""
        try:
            self._acceptor = await asyncssh.listen(
                LISTEN, self._port, tunnel=_Entrance(self), server_factory=lambda: Session(self), **self._options()
            )
        except OSError as error:
            raise RetryableError(
                f"cannot listen: {ssh.in_words(error)}", where=f"{LISTEN}:{self._port}", hint="or change ssh_port"
            ) from None

    async def run(self) -> None:
        """Look after the connections until cancelled: what gives no sign of life is asked, then dropped."""
        while True:
            await asyncio.sleep(1.0)
            for session in self._sessions:
                if session.silent >= DEAD_AFTER:
                    _logger.info("%s: no sign of life for %.0f s", session.user, session.silent)
                    session.abort()
                elif session.known and session.silent >= PING_AFTER:
                    session.ping()

    def stop_accepting(self) -> None:
        """Take no more connections; those here go on."""
        if self._acceptor is not None:
            self._acceptor.close()
        self._factory = None

    async def close(self) -> None:
        """Drop everything, and return when it is gone."""
        self.stop_accepting()
        sessions = tuple(self._sessions)
        for session in sessions:
            session.end(asyncssh.DISC_SERVICE_NOT_AVAILABLE, "the server is stopping")
        for session in sessions:
            await session.closed()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=STOPPING)
        if self._acceptor is not None:
            await self._acceptor.wait_closed()
            self._acceptor = None

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return self._acceptor.get_port() if self._acceptor is not None else 0

    # -- users --

    def apply(self, users: UserSet) -> None:
        """Let `users` be in force, for those who are connected as well."""
        self.users = users
        for session in self._sessions.known():
            session.apply()
        for name in self._sessions.users:
            self._seat(name)

    def online(self) -> set[str]:
        """The users who are connected."""
        return self._sessions.users

    def recent(self) -> set[str]:
        """The users who are connected or were a short while ago."""
        horizon = self.clock() - RECENT
        self._seen = {user: at for user, at in self._seen.items() if at >= horizon}
        return self.online() | set(self._seen)

    @property
    def flow_count(self) -> int:
        """How many flows there are, of all users."""
        return len(self.flows)

    def status(self) -> dict[str, Any]:
        """Tell who is here."""
        sessions = [session.status() for session in self._sessions.known()]
        return {"port": self.port, "users": len(self.users), "flows": len(self.flows), "sessions": sessions}

    # -- said by sessions and links --

    def connect(self) -> asyncio.Protocol:
        """Return the server's side of one new connection, for a socket or for a channel of a link."""
        if self._factory is None:
            raise ConnectionRefusedError("the server is stopping")
        conn = self._factory()
        wire = Wire(conn, self.clock)
        self._wires[cast(asyncssh.SSHServerConnection, conn)] = wire
        return wire

    def wire_of(self, conn: asyncssh.SSHServerConnection) -> Wire:
        """Return, once, the wire below a connection that was just made."""
        return self._wires.pop(conn)

    def arrived(self, session: Session) -> None:
        """Take note of a connection; it is a stranger until it has logged in."""
        self._sessions.arrived(session)
        if self._sessions.strangers > STRANGERS:
            _logger.warning("too many connections that do not log in: the oldest is dropped")
            self._sessions.oldest_stranger().abort()

    def logged_in(self, session: Session) -> None:
        """Take note of a user."""
        self._seen[session.user] = self.clock()
        self._sessions.logged_in(session)
        session.apply()  # the users may have changed since the key was looked at
        self._seat(session.user)
        session.admitted = not session.leaving
        if session.admitted:
            self._turned_away.pop(session.user, None)
            _logger.info("%s: connected", session.user)

    def left(self, session: Session, why: str) -> None:
        """Take note that a connection is gone."""
        self._sessions.left(session)
        if session.admitted:
            self._seen[session.user] = self.clock()
            _logger.info("%s: disconnected: %s", session.user, why)

    def own(self, work: Coroutine[Any, Any, None]) -> None:
        """Take care of a task until it is done."""
        task = asyncio.create_task(work, name="request over a control channel")
        self._tasks.add(task)
        task.add_done_callback(self._settle)

    def _settle(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _logger.error("a request could not be answered", exc_info=error)

    def _seat(self, name: str) -> None:
        """Let those of a user's connections go that are one session too many."""
        user = self.users.get(name)
        if user is None or user.grant.single_session == "off":
            return
        sessions = [session for session in self._sessions.of(name) if not session.leaving]
        seats = [session.seat for session in sessions if session.seat is not None]
        policy = user.grant.single_session
        for number, why in tuple(instances.surplus(seats, policy)):
            words = _WORDS[why].format(name) + (_TAKE_OVER if policy == "takeover" else "")
            if self._turned_away.get(name) != seats[number].instance:  # it will try again and again
                self._turned_away[name] = seats[number].instance
                _logger.info("a client was turned away: %s", words)
            sessions[number].end(ssh.ONE_TOO_MANY, words)

    def _options(self) -> dict[str, Any]:
        return {
            **ssh.ALGORITHMS,
            "config": None,
            "server_host_keys": [self._host_key],
            "server_version": "tw",
            "login_timeout": LOGIN_DEADLINE,
            "keepalive_interval": 0,  # `run` does it: it counts any sign of life
            "public_key_auth": True,
            "password_auth": False,
            "kbdint_auth": False,
            "host_based_auth": False,
            "gss_host": None,
            "gss_auth": False,
            "gss_kex": False,
            "allow_pty": False,
            "agent_forwarding": False,
            "x11_forwarding": False,
            "allow_scp": False,
            "line_editor": False,
        }

    async def _listen(self, factory: Callable[[], asyncio.BaseProtocol], host: str, port: int) -> asyncio.Server:
        self._factory = factory
        return await asyncio.get_running_loop().create_server(self.connect, host, port)


class _Entrance:
    """Takes asyncssh's place in listening, so that our wire lies below each connection and links can bring some too."""

    def __init__(self, server: EmbeddedServer) -> None:
        self._server = server

    async def create_server(
        self, session_factory: Callable[[str, int], asyncio.BaseProtocol], listen_host: str, listen_port: int
    ) -> asyncio.Server:
        return await self._server._listen(lambda: session_factory("", 0), listen_host, listen_port)
