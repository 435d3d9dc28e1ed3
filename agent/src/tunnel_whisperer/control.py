"""The control socket of a daemon: one JSON line asks, one answers. Who may open the socket may ask.

`{"op": "status"}` answers with the daemon's status, `{"op": "reload"}` with what changed. An answer has `ok`; where
that is false, `error` says why in one line.
"""

import asyncio
import contextlib
import json
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from tunnel_whisperer.errors import DaemonUnreachableError, RetryableError, TwError

SOCKET = "control.sock"
MODE = 0o660
LONGEST = 64 * 1024
PATIENCE = 10.0

Handler = Callable[[], Awaitable[Mapping[str, Any]]]

_logger = logging.getLogger("tunnel_whisperer.control")


class ControlServer:
    """Answers on a daemon's control socket."""

    def __init__(self, runtime_dir: Path, handlers: Mapping[str, Handler]) -> None:
        """`handlers` answer the operations of their names."""
        self._path = runtime_dir / SOCKET
        self._handlers = handlers

    async def run(self, started: Callable[[], None]) -> None:
        """Answer until cancelled; raises RetryableError while another daemon does."""
        await self._take_path()
        async with asyncio.TaskGroup() as group:

            def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                group.create_task(self._serve(reader, writer), name="control connection")

            server = await asyncio.start_unix_server(take, self._path, limit=LONGEST)
            try:
                self._path.chmod(MODE)
                started()
                await asyncio.get_running_loop().create_future()
            finally:
                server.close()
                self._path.unlink(missing_ok=True)

    async def _take_path(self) -> None:
        """Clear away what a daemon that was killed has left, and leave alone one that lives."""
        with contextlib.suppress(DaemonUnreachableError):
            await asyncio.to_thread(ask, self._path, "status", timeout=2.0)
            raise RetryableError("another daemon already runs here", where=str(self._path.parent))
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            raise RetryableError(f"cannot be replaced: {error.strerror}", where=str(self._path)) from None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if (line := await self._request(reader)) is not None:
                answer = await self._answer(line)
                with contextlib.suppress(ConnectionError):
                    writer.write(answer.encode() + b"\n")
                    await writer.drain()
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _request(self, reader: asyncio.StreamReader) -> bytes | None:
        """Read the line that asks; None where there is none to answer."""
        try:
            async with asyncio.timeout(PATIENCE):
                return await reader.readline()
        except ValueError:
            _logger.debug("a request longer than %d bytes", LONGEST)
        except (ConnectionError, TimeoutError):
            pass
        return None

    async def _answer(self, line: bytes) -> str:
        try:
            request = json.loads(line)
            operation = request["op"]
            handler = self._handlers[operation]
        except (ValueError, KeyError, TypeError):
            return _refusal(f"not understood; operations: {', '.join(sorted(self._handlers))}")
        try:
            return json.dumps({"ok": True, **await handler()})
        except TwError as error:
            return _refusal(str(error), exit_code=error.exit_code)
        except Exception as error:  # nobody's flows should end because a question could not be answered
            _logger.error("%s could not be answered", operation, exc_info=error)
            return _refusal(f"{operation} failed in an unforeseen way; the daemon's log has it")


def _refusal(why: str, **more: int) -> str:
    return json.dumps({"ok": False, "error": why, **more})


def ask(path: Path, operation: str, *, timeout: float = PATIENCE) -> dict[str, Any]:
    """Ask the daemon that owns the socket at `path`; raises DaemonUnreachableError, or TwError when it says no."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(timeout)
            sock.connect(str(path))
            sock.sendall(json.dumps({"op": operation}).encode() + b"\n")
            with sock.makefile("rb") as file:
                answer: dict[str, Any] = json.loads(file.readline())
    except (FileNotFoundError, ConnectionRefusedError):
        raise DaemonUnreachableError("not running", where=str(path.parent)) from None
    except PermissionError:
        hint = "run as root or as a member of its group"
        raise DaemonUnreachableError("may not be asked by this user", where=str(path), hint=hint) from None
    except TimeoutError:
        raise DaemonUnreachableError(f"does not answer within {timeout:g} s", where=str(path)) from None
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)
        raise DaemonUnreachableError(why, where=str(path)) from None
    except ValueError:
        raise DaemonUnreachableError("closed the connection without an answer", where=str(path)) from None
    if not answer.pop("ok"):
        failed = TwError(answer["error"])
        failed.exit_code = answer.get("exit_code", 1)
        raise failed
    return answer
