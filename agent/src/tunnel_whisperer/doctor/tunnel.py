"""Steps through a carrier: the stream, SSH with its pinned host key, and a channel for each bridge."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable

import asyncssh
from asyncssh.constants import OPEN_ADMINISTRATIVELY_PROHIBITED

from tunnel_whisperer.carrier import XrayCarrier
from tunnel_whisperer.doctor.result import Finding, TroubleError
from tunnel_whisperer.errors import RetryableError
from tunnel_whisperer.identity import Identity
from tunnel_whisperer.link import ssh
from tunnel_whisperer.link.link import LOOPBACK, Owner
from tunnel_whisperer.stream import StreamDialer

DEADLINE = 10.0
"""Seconds for a stream's first word, an SSH login, or a channel."""
NOT_PERMITTED = "it is not permitted"
_GREETING = b"SSH-2.0-us\r\n"
_AFTERTHOUGHT = 0.2
"""Seconds after the end of a stream in which Xray logs why."""


async def greeting(dialer: StreamDialer, port: int) -> str:
    """Open a stream to an SSH server at the relay's loopback and return how it introduces itself.

    Raises RetryableError when it does not.
    """
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    transport, _ = await dialer.create_connection(lambda: protocol, LOOPBACK, port)
    try:
        transport.write(_GREETING)
        async with asyncio.timeout(DEADLINE):
            line = await reader.readline()
    except TimeoutError:
        raise RetryableError(f"nothing came within {DEADLINE:g} s") from None
    except OSError as error:
        raise RetryableError(f"the stream was cut: {error.strerror}") from None
    finally:
        transport.abort()
    if not line.startswith(b"SSH-"):
        raise RetryableError("the stream ended before anything came" if not line else f"no SSH answers: {line[:40]!r}")
    return line.decode("ascii", "replace").strip()


async def carrier_to(carrier: XrayCarrier, port: int, hint: str) -> Finding:
    """Open one stream; `hint` says what to do where the relay took us in but nobody answers at the port."""
    try:
        said = await greeting(carrier, port)
    except RetryableError as error:
        await asyncio.sleep(_AFTERTHOUGHT)
        reason = carrier.status()["last_error"]
        if reason:
            raise TroubleError(reason, "the steps before this one say more") from None
        raise TroubleError(error.message, hint) from None
    return Finding(f"{said} answers")


async def live_ports(carrier: XrayCarrier, ports: Iterable[int]) -> tuple[list[int], str]:
    """Try all ports at once; return those where an SSH server answers, and why the first other one does not."""
    wanted = list(ports)
    said = await asyncio.gather(*(greeting(carrier, port) for port in wanted), return_exceptions=True)
    failures = [answer for answer in said if isinstance(answer, BaseException)]
    for failure in failures:
        if not isinstance(failure, RetryableError):
            raise failure
    if len(failures) == len(wanted):
        await asyncio.sleep(_AFTERTHOUGHT)
    live = [port for port, answer in zip(wanted, said, strict=True) if isinstance(answer, str)]
    return live, carrier.status()["last_error"] or (str(failures[0]) if failures else "")


@contextlib.asynccontextmanager
async def login(
    carrier: XrayCarrier, port: int, user: str, identity: Identity, pinned: Iterable[str], hint: str, version: str
) -> AsyncIterator[asyncssh.SSHClientConnection]:
    """Log in to an SSH server at the relay's loopback; `hint` says what to do where it does not take our key.

    `version` is what we greet with.
    """
    options = ssh.client_options(user, identity.ssh_key(), ssh.host_keys(pinned), version)
    try:
        async with asyncio.timeout(DEADLINE):
            owner = Owner(asyncio.Event())
            connection = await asyncssh.connect(LOOPBACK, port, tunnel=carrier, client_factory=lambda: owner, **options)
    except asyncssh.HostKeyNotVerifiable:
        action = "it was set up anew, or somebody stands in between: find out which before site.yml pins the new key"
        raise TroubleError("its host key is not the pinned one", action) from None
    except asyncssh.PermissionDenied:
        raise TroubleError(f"it does not accept the key of {user}", hint) from None
    except (asyncssh.Error, OSError, RetryableError) as error:
        raise TroubleError(f"no login: {ssh.in_words(error)}", "try again; then look at the far end's log") from None
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DEADLINE):
                await ssh.ping(connection)
        if owner.ended:
            raise TroubleError(f"it takes us in, and sends us away: {owner.why}", "end the other session, or wait")
        yield connection
    finally:
        connection.abort()
        await connection.wait_closed()


async def channel(connection: asyncssh.SSHClientConnection, host: str, port: int, permit: str) -> Finding:
    """Open a channel to `host:port` at the far end and close it; `permit` says what would permit it."""
    try:
        async with asyncio.timeout(DEADLINE):
            _, writer = await connection.open_connection(host, port)
    except asyncssh.ChannelOpenError as error:
        if error.code == OPEN_ADMINISTRATIVELY_PROHIBITED:
            raise TroubleError(NOT_PERMITTED, permit) from None
        action = f"at the far end: see that something listens at {host}:{port}"
        raise TroubleError(f"the far end cannot reach it: {error.reason}", action) from None
    except TimeoutError:
        raise TroubleError("no answer from the far end", f"see that {host}:{port} answers at the far end") from None
    except (asyncssh.Error, OSError) as error:
        raise TroubleError(f"the connection was lost: {ssh.in_words(error)}", "try again") from None
    writer.close()
    return Finding("opened and closed again")


async def refusal(connection: asyncssh.SSHClientConnection, host: str, port: int) -> Finding:
    """Ask for a target that nobody gave to this user: the server itself has to refuse it."""
    try:
        found = await channel(connection, host, port, "")
    except TroubleError as trouble:
        if trouble.details == NOT_PERMITTED:
            return Finding("not permitted, as it has to be")
        raise
    raise TroubleError(
        f"it is not refused: {found.details}", "see what the server permits this user: its users.json, and tw_users"
    )


async def target(host: str, port: int) -> Finding:
    """Connect from here, the server's end, to what users may reach."""
    action = f"start what should listen at {host}:{port}"
    try:
        async with asyncio.timeout(DEADLINE):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        raise TroubleError("no answer", action) from None
    except OSError as error:
        raise TroubleError(f"no connection: {(error.strerror or str(error)).splitlines()[0]}", action) from None
    writer.transport.abort()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return Finding("it answers")
