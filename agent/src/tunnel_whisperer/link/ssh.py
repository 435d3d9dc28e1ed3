"""What all our SSH connections agree on: algorithms, windows, pings, and failures in words."""

import asyncio
import os
from collections.abc import Iterable
from typing import Any, cast

import asyncssh
from asyncssh.constants import MSG_IGNORE

from tunnel_whisperer.errors import ConfigError, TwError

# aes128-gcm costs the least CPU for a byte; the others are for peers that do not have it.
ENCRYPTION = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com")
KEY_EXCHANGE = ("curve25519-sha256", "curve25519-sha256@libssh.org", "ecdh-sha2-nistp256")
ALGORITHMS: dict[str, Any] = {
    "encryption_algs": ENCRYPTION,
    "kex_algs": KEY_EXCHANGE,
    "compression_algs": ("none",),
}

WINDOW = 16 * 1024 * 1024
"""The most one flow may have under way: half a gigabit at 250 ms."""
WINDOW_FLOOR = 256 * 1024
WINDOW_BUDGET = 128 * 1024 * 1024
"""Shared by the flows of a process: each one with a reader that stalls can cost its window in memory."""
PACKET = 64 * 1024 - 64
"""With its frame it fills two packets of OpenSSH's size, which it travels in between the relay and the server."""

VERSION = "tw"
"""How we greet who needs to know no more of us."""

ONE_TOO_MANY = asyncssh.DISC_TOO_MANY_CONNECTIONS
"""The code of a disconnect by which a server says that the user is connected from elsewhere."""

CUT = "the connection was cut"
LINK_CLOSED = "SSH connection closed"
"""How asyncssh says that a channel could not be opened because the connection went away."""


def window(flows: int) -> int:
    """Return the window for one flow more, beside `flows` others."""
    return max(WINDOW_FLOOR, min(WINDOW, WINDOW_BUDGET // (flows + 1)))


def host_keys(lines: Iterable[str]) -> list[asyncssh.SSHKey]:
    """Read pinned host keys, each `<type> <base64>`; raises ConfigError."""
    try:
        return [asyncssh.import_public_key(line) for line in lines]
    except asyncssh.KeyImportError as error:
        raise ConfigError(f"a pinned host key cannot be read: {error}") from None


def client_options(
    user: str, key: asyncssh.SSHKey, pinned: list[asyncssh.SSHKey], version: str = VERSION
) -> dict[str, Any]:
    """Return what `asyncssh.connect` needs to log in with this key, and with nothing that lies around on the host.

    `version` is what we greet with.
    """
    return {
        **ALGORITHMS,
        "username": user,
        "client_keys": [key],
        "known_hosts": (pinned, [], []),
        "config": None,
        "agent_path": None,
        "x509_trusted_certs": None,
        "public_key_auth": True,
        "password_auth": False,
        "kbdint_auth": False,
        "host_based_auth": False,
        "gss_auth": False,
        "gss_kex": False,
        "client_version": version,
        "keepalive_interval": 0,  # the link has its own, which also counts progress as a sign of life
    }


def spare_ignores(conn: Any) -> None:
    """Leave out the empty packet that asyncssh sends ahead of every other one.

    It guards CBC ciphers, which we never agree to; it would double the packets, and the CPU for small ones.
    """
    send = conn.send_packet

    def send_packet(pkttype: int, *args: bytes, **options: Any) -> None:
        if pkttype != MSG_IGNORE:
            send(pkttype, *args, **options)

    conn.send_packet = send_packet


def refuse_environment(channel: Any) -> None:
    """Take no environment variables: asyncssh would keep all that come, however many, and has no way to refuse them."""
    channel._process_env_request = lambda packet: False


async def ping(conn: asyncssh.SSHClientConnection | asyncssh.SSHServerConnection) -> None:
    """Ask the far end for any answer; returns at once when the connection is gone, and its owner has heard of that.

    asyncssh has keepalives and no public way to time one.
    """
    await cast(Any, conn)._make_global_request(b"keepalive@openssh.com")
    await asyncio.sleep(0)  # a connection that was just ended tells its owner in the next round


def in_words(error: BaseException | None) -> str:
    """Say in words why a connection or an attempt ended."""
    match error:
        case None:
            return "closed"
        case asyncssh.HostKeyNotVerifiable():
            return "its host key is not the pinned one"
        case asyncssh.PermissionDenied():
            return "it does not accept our key"
        case asyncssh.ConnectionLost() | BrokenPipeError() | ConnectionResetError() | ConnectionAbortedError():
            return CUT
        case asyncssh.DisconnectError(reason=reason, code=int(code)) if reason:
            # asyncssh adds the number of a code for which it has no class of its own.
            return reason[0].lower() + reason[1:].removesuffix(f" (error {code})")
        case asyncssh.Error(reason=reason) if reason:
            return reason[0].lower() + reason[1:]
        case TimeoutError():
            return "no answer in time"
        case TwError():
            return str(error)
        case OSError(errno=int(number)):
            return os.strerror(number)
        case asyncio.CancelledError():
            return "given up"
        case _:
            return str(error) or type(error).__name__
