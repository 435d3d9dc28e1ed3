"""What the two kinds of links share: one SSH connection over a stream, kept up, watched, and come back to.

A link's own coroutine (`run`) owns its state; others ask for flows, or nudge it.
"""

import asyncio
import contextlib
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import asyncssh
from asyncssh.constants import OPEN_CONNECT_FAILED

from tunnel_whisperer.backoff import Backoff
from tunnel_whisperer.errors import RetryableError, TwError
from tunnel_whisperer.link import ssh
from tunnel_whisperer.link.asking import ask
from tunnel_whisperer.link.flows import FlowGroup
from tunnel_whisperer.link.instances import Instance
from tunnel_whisperer.link.pump import Flow
from tunnel_whisperer.link.states import Clock, LinkChanged, LinkLife, LinkState
from tunnel_whisperer.link.wire import Wire, WireDialer
from tunnel_whisperer.stream import StreamDialer

FAILURES = (TwError, OSError, asyncssh.Error, asyncssh.ChannelListenError)
"""What an attempt at a link may well end with; the reason goes into its state, and the next attempt follows."""

_logger = logging.getLogger("tunnel_whisperer.link")


@dataclass(frozen=True, slots=True)
class CellPorts:
    """The ports on the loopback of a tenant's cell; every tenant's are the same."""

    ssh: int = 22
    xray_api: int = 10085
    reverse: tuple[int, ...] = tuple(range(2222, 2230))


CELL = CellPorts()
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Login:
    """With what to log in: `host_keys` are the pinned ones, asked for anew at each attempt."""

    user: str
    key: asyncssh.SSHKey
    host_keys: Callable[[], list[asyncssh.SSHKey]]
    instance: Instance | None = None
    """Which client we are, where the far end is to know it."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds. A dead path is found after `dead` of silence, a link is doubted when a question has none for `doubt`."""

    attempt: float = 8.0
    ping: float = 3.0
    doubt: float = 1.5
    dead: float = 9.0
    probe: float = 3.0
    """An answer must come within so many seconds when there is a reason to look."""
    tick: float = 0.5
    hedge: float = 0.5
    """A port of the relay that is silent for so long gets company: it may lead to a frozen link."""


class LinkLostError(RetryableError):
    """The link went away; another one may do."""


class RefusedError(TwError):
    """The far end answered, and said no."""


class TurnedAwayError(RetryableError):
    """The far end knows us, and does not want us just now: the user is connected from elsewhere."""


class Owner(asyncssh.SSHClient):
    """Hears that an SSH connection ended, and why."""

    def __init__(self, nudge: asyncio.Event) -> None:
        """Set `nudge` at the end."""
        self._nudge = nudge
        self.ended = False
        self.turned_away = False
        """Whether the far end said that the user is connected from elsewhere."""
        self.why = "closed"

    def connection_lost(self, exc: Exception | None) -> None:
        """Take note."""
        self.why = ssh.in_words(exc)
        self.turned_away = isinstance(exc, asyncssh.DisconnectError) and exc.code == ssh.ONE_TOO_MANY
        self.ended = True
        self._nudge.set()


@dataclass(slots=True)
class Held:
    """An SSH connection that is up."""

    conn: asyncssh.SSHClientConnection
    wire: Wire
    owner: Owner
    port: int
    """The port at the relay that this link stands for."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a link is given from outside, so that tests can give something else."""

    dialer: StreamDialer
    report: Callable[[LinkChanged], None]
    siblings: Callable[[], Iterable["Link"]] = tuple
    explain: Callable[[], str | None] = lambda: None
    """What the carrier knows of why streams fail."""
    ports: CellPorts = CELL
    clock: Clock = time.monotonic
    timing: Timing = field(default_factory=Timing)
    backoff: Callable[[], Backoff] = Backoff


class Link(ABC):
    """One link. Subclasses say how it is made (`_establish`)."""

    def __init__(self, number: int, login: Login, surroundings: Surroundings) -> None:
        """Prepare only; `run` makes the link."""
        self.number = number
        self._login = login
        self._around = surroundings
        self.life = LinkLife(number, surroundings.report, surroundings.clock)
        self.flows = FlowGroup()
        self.round_trip: float | None = None
        self.attempts = 0
        self._clock = surroundings.clock
        self._timing = surroundings.timing
        self._backoff = surroundings.backoff()
        self._knocking = Backoff(low=2.0)
        self._turned_away = False
        self._held: Held | None = None
        self._nudge = asyncio.Event()
        self._probe_until: float | None = None
        self._asked_at = 0.0

    # -- what others may ask --

    @property
    def port(self) -> int | None:
        """The port at the relay that the link stands for, while it is live."""
        return self._held.port if self._held is not None else None

    @property
    def live(self) -> bool:
        """Whether flows can be opened."""
        return self._held is not None and not self._held.owner.ended and self.life.live

    def hurry(self) -> None:
        """Try again now, if the link is waiting to."""
        self._nudge.set()

    def probe(self) -> None:
        """Make sure soon that the far end is still there: something happened that often breaks links."""
        if self._held is not None:
            self._probe_until = self._clock() + self._timing.probe
        self._nudge.set()

    async def open(self, flow: Flow, host: str, port: int) -> None:
        """Give a flow its channel to `host:port` at the far end.

        Raises LinkLostError when the link went away, RefusedError when the far end said no. Not to be cancelled: the
        channel that would come nevertheless would be nobody's.
        """
        held = self._held
        if held is None:
            raise LinkLostError("the link is not up")
        self._ask(held.wire)
        flow.ride(held.wire)
        flow.join(self.flows)
        try:
            await held.conn.create_connection(
                lambda: flow.channel_side, host, port, window=ssh.window(len(self.flows)), max_pktsize=ssh.PACKET
            )
        except asyncssh.ChannelOpenError as error:
            flow.leave(self.flows)
            if held.owner.ended or (error.code == OPEN_CONNECT_FAILED and error.reason == ssh.LINK_CLOSED):
                raise LinkLostError(f"the link was lost: {held.owner.why}") from None
            raise RefusedError(error.reason) from None

    async def ask(self, operation: str, **fields: str) -> dict[str, Any]:
        """Ask the far end over its control channel.

        Raises LinkLostError when the link went away, NotGrantedError when the far end said no.
        """
        held = self._held
        if held is None:
            raise LinkLostError("the link is not up")
        try:
            return await ask(held.conn, operation, fields)
        except (asyncssh.Error, OSError) as error:
            raise LinkLostError(f"no answer over the link: {ssh.in_words(error)}") from None

    def status(self) -> dict[str, Any]:
        """Tell how the link is."""
        return {
            "link": self.number,
            "state": self.life.state.value,
            "reason": self.life.reason,
            "seconds": round(self.life.seconds, 1),
            "port": self.port,
            "round_trip_ms": None if self.round_trip is None else round(self.round_trip * 1000, 1),
            "flows": len(self.flows),
            "sent": self.flows.sent,
            "received": self.flows.received,
            "attempts": self.attempts,
        }

    # -- its life --

    async def run(self) -> None:
        """Keep the link up until cancelled."""
        while True:
            lived, why = await self._live()
            delay = (self._knocking if self._turned_away else self._backoff).next(lived)
            self.life.go(LinkState.DOWN, why)
            await self._rest(delay)

    async def _live(self) -> tuple[float, str]:
        """Make the link and hold it; return how long it was up, and why it ended."""
        self.life.go(LinkState.CONNECTING, f"after: {self.life.reason}" if self.attempts else "first attempt")
        self.attempts += 1
        try:
            held = await self._establish()
        except Exception as error:  # a far end can bring asyncssh to raise anything
            self._turned_away = isinstance(error, TurnedAwayError)
            if not isinstance(error, FAILURES):
                _logger.error("link %d: an attempt failed in an unforeseen way", self.number, exc_info=error)
            return 0.0, (None if self._turned_away else self._around.explain()) or ssh.in_words(error)
        began = self._clock()
        try:
            self._held = held
            self.life.go(LinkState.UP, f"over the relay's port {held.port}")
            why = await self._hold(held)
            self._turned_away = held.owner.turned_away
            return self._clock() - began, why
        finally:
            self._held = None
            self.round_trip = None
            held.conn.abort()
            await held.conn.wait_closed()

    async def _hold(self, held: Held) -> str:
        """Watch the link until it ends; return why it did."""
        timing = self._timing
        self._probe_until = None
        pinged = self._clock() - timing.ping
        ping: asyncio.Task[None] | None = None
        try:
            while not held.owner.ended:
                now = self._clock()
                probing = self._probe_until is not None
                if (ping is None or ping.done()) and (probing or now - pinged >= timing.ping):
                    pinged = now
                    ping = asyncio.create_task(self._ping(held), name=f"ping of link {self.number}")
                if gone := self._judge(held.wire, now):
                    return gone
                await self._nudged(timing.tick)
            return held.owner.why
        finally:
            if ping is not None:
                ping.cancel()
                await asyncio.gather(ping, return_exceptions=True)

    def _judge(self, wire: Wire, now: float) -> str | None:
        """Set the state by the signs of life there were; return why the link is lost, if it is."""
        silent, unanswered = wire.silent, now - self._asked_at
        if self._probe_until is not None:
            asked = self._probe_until - self._timing.probe
            if wire.alive_at >= asked:
                self._probe_until = None
            elif now >= self._probe_until:
                return f"no answer for {now - asked:.0f} s after the network changed"
        if silent >= self._timing.dead:
            return f"no sign of life for {silent:.0f} s"
        if wire.alive_at < self._asked_at and unanswered >= self._timing.doubt:
            self.life.go(LinkState.DEGRADED, f"no answer for {unanswered:.0f} s")
        elif self.life.state is LinkState.DEGRADED:
            self.life.go(LinkState.UP, "the far end answers again")
        return None

    async def _ping(self, held: Held) -> None:
        began = self._clock()
        self._ask(held.wire)
        await ssh.ping(held.conn)
        if not held.owner.ended:
            self.round_trip = self._clock() - began

    def _ask(self, wire: Wire) -> None:
        """Note that something is being asked, unless an earlier question still waits."""
        if wire.alive_at >= self._asked_at:
            self._asked_at = self._clock()

    async def _rest(self, delay: float) -> None:
        """Wait before the next attempt; `hurry` cuts it short."""
        self._nudge.clear()
        await self._nudged(delay)

    async def _nudged(self, timeout: float) -> None:
        """Wait for a nudge, or until time is up."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._nudge.wait()
        self._nudge.clear()

    # -- how it is made --

    @abstractmethod
    async def _establish(self) -> Held:
        """Make the link; raises when it cannot, mostly one of FAILURES."""

    async def _log_in(self, port: int, dialer: WireDialer | None = None) -> Held:
        """Log in over a stream to a port of the relay's loopback, within the time an attempt may take."""
        dialer = dialer or WireDialer(self._around.dialer, self._clock)
        owner = Owner(self._nudge)
        instance = self._login.instance
        version = ssh.VERSION if instance is None else instance.version
        options = ssh.client_options(self._login.user, self._login.key, self._login.host_keys(), version)
        async with asyncio.timeout(self._timing.attempt):
            conn = await asyncssh.connect(LOOPBACK, port, tunnel=dialer, client_factory=lambda: owner, **options)
        assert dialer.wire is not None
        return Held(conn, dialer.wire, owner, port)

    def _siblings_ports(self) -> set[int | None]:
        """Return the relay's ports that our other links stand for."""
        return {link.port for link in self._around.siblings() if link is not self}
