"""The control channel, the client's end: one request, one answer."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import asyncssh

from tunnel_whisperer.errors import NotGrantedError
from tunnel_whisperer.link import ssh
from tunnel_whisperer.link.control_channel import SUBSYSTEM

DEADLINE = 45.0
"""Seconds: the server may have to wait for somebody else who changes its users."""

LONGEST = 1024 * 1024
"""Bytes of an answer; it may list many bridges."""


class _Answer(asyncssh.SSHClientSession[bytes]):
    """Collects one line."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()
        self.line: bytes | None = None
        self.why = ""
        self._got = bytearray()

    def data_received(self, data: bytes, datatype: Any) -> None:
        self._got += data
        line, end, _ = bytes(self._got).partition(b"\n")
        if end and self.line is None:
            self.line = line
            self.ended.set()
        elif len(line) > LONGEST:
            self.why = "its answer has no end"
            self.ended.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.why = self.why or ssh.in_words(exc)
        self.ended.set()


async def ask(conn: asyncssh.SSHClientConnection, operation: str, fields: Mapping[str, str]) -> dict[str, Any]:
    """Return the server's answer.

    Raises NotGrantedError with the server's words when it said no, and asyncssh.Error or OSError when there was none.
    """
    request = json.dumps({"op": operation, **fields}).encode() + b"\n"
    answer = _Answer()
    async with asyncio.timeout(DEADLINE):
        channel, _ = await conn.create_session(lambda: answer, subsystem=SUBSYSTEM, encoding=None)
        try:
            channel.write(request)
            await answer.ended.wait()
        finally:
            channel.close()
    if answer.line is None:
        raise ConnectionError(f"the server did not answer: {answer.why}")
    return read_answer(answer.line)


def read_answer(line: bytes) -> dict[str, Any]:
    """Return what an answer says beside `ok`; raises NotGrantedError."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        found = None
    ok = found.pop("ok", None) if isinstance(found, dict) else None
    if not isinstance(found, dict) or not isinstance(ok, bool):
        raise NotGrantedError("the server's answer is not understood")
    if not ok:
        words = "".join(char if char.isprintable() else " " for char in str(found.get("error"))[:500])
        raise NotGrantedError(words, retry=found.get("retry") is True)
    return found
