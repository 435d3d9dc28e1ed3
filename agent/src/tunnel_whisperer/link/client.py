"""The client's links: through one of the server's ports at the relay, end to end to its embedded SSH server.

Which of the ports lead to the server is found out by trying. The relay's Xray takes most of a second to say that nobody
listens at one, so they are tried in three waves rather than one after the other.
"""

import asyncio
from collections.abc import Iterator, Sequence

import asyncssh

from tunnel_whisperer.errors import RetryableError
from tunnel_whisperer.link import ssh
from tunnel_whisperer.link.link import Held, Link, LinkLostError, Login, Surroundings, TurnedAwayError
from tunnel_whisperer.link.wire import WireDialer


class ClientLink(Link):
    """One link of the client."""

    def __init__(self, number: int, login: Login, surroundings: Surroundings) -> None:
        """Begin at a port of its own."""
        super().__init__(number, login, surroundings)
        ports = surroundings.ports.reverse
        self._favourite = ports[(number - 1) % len(ports)]

    async def _establish(self) -> Held:
        """Take the first port that leads to the server; what is only slow may still win."""
        attempts = _Attempts()
        try:
            for wave in self._waves():
                for port in wave:
                    dialer = WireDialer(self._around.dialer, self._clock)
                    name = f"link {self.number} at port {port}"
                    attempts.add(asyncio.create_task(self._enter(port, dialer), name=name), dialer)
                if held := await attempts.first(self._timing.hedge):
                    return self._remember(held)
                if attempts.answered:
                    break  # it was the server that said no; its other ports are no different
            if held := await attempts.first(None):
                return self._remember(held)
        finally:
            await attempts.end()
        raise self._failure(attempts.failures)

    async def _enter(self, port: int, dialer: WireDialer) -> Held:
        """Log in, and wait for a first answer: a server that sends us away at once has done so by then."""
        held = await self._log_in(port, dialer)
        try:
            async with asyncio.timeout(self._timing.attempt):
                await ssh.ping(held.conn)
            if held.owner.turned_away:
                raise TurnedAwayError(held.owner.why)
            if held.owner.ended:
                raise LinkLostError(f"the server took us in and left: {held.owner.why}")
        except BaseException:
            held.conn.abort()
            await held.conn.wait_closed()
            raise
        return held

    def _waves(self) -> Iterator[Sequence[int]]:
        """Give the port it had last or begins with, then all others, then those that our other links have."""
        taken = self._siblings_ports()
        others = [port for port in self._around.ports.reverse if port != self._favourite]
        if self._favourite not in taken:
            yield [self._favourite]
        yield [port for port in others if port not in taken]
        yield [port for port in self._around.ports.reverse if port in taken]

    def _remember(self, held: Held) -> Held:
        """Begin there next time, unless another of our links already does."""
        self._heard()
        if held.port not in self._siblings_ports():
            self._favourite = held.port
        return held

    def _heard(self) -> None:
        """Note that the server has decided about us, one way or the other."""
        if self._login.instance is not None:
            self._login.instance.answered = True

    def _failure(self, failures: list[BaseException]) -> RetryableError:
        """Say why no port led to the server: refused ports say nothing when another one said more."""
        for failure in failures:
            if isinstance(failure, TurnedAwayError):
                self._heard()
                return failure
        if any(isinstance(failure, asyncssh.PermissionDenied) for failure in failures):
            return RetryableError(
                f"the server does not accept the key of user {self._login.user}",
                hint="the user was removed, or its key has changed",
            )
        told = [why for why in map(ssh.in_words, failures) if why != ssh.CUT]
        if not told:
            return RetryableError("no link of the server answers at the relay")
        return RetryableError(f"the server cannot be reached: {told[-1]}")


class _Attempts:
    """Attempts that go on side by side; the first that makes it wins."""

    def __init__(self) -> None:
        self._dialers: dict[asyncio.Task[Held], WireDialer] = {}
        self.failures: list[BaseException] = []

    def add(self, task: asyncio.Task[Held], dialer: WireDialer) -> None:
        """Take one more."""
        self._dialers[task] = dialer

    @property
    def answered(self) -> bool:
        """Whether the server itself has refused us."""
        return any(isinstance(failure, asyncssh.PermissionDenied | TurnedAwayError) for failure in self.failures)

    async def first(self, patience: float | None) -> Held | None:
        """Return the first that made it; None when all have failed, or none has heard anything in time."""
        while self._dialers:
            done, _ = await asyncio.wait(self._dialers, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            if not done and not any(dialer.wire and dialer.wire.heard for dialer in self._dialers.values()):
                return None
            for task in done:
                del self._dialers[task]
                error = task.exception()
                if error is None:
                    return task.result()
                self.failures.append(error)
        return None

    async def end(self) -> None:
        """Give up what is still being tried, and what made it when another had already won."""
        for task in self._dialers:
            task.cancel()
        for result in await asyncio.gather(*self._dialers, return_exceptions=True):
            if isinstance(result, Held):
                result.conn.abort()
                await result.conn.wait_closed()
