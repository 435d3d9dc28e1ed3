"""What can be asked over the control channel: requests read strictly, and answers written."""

import asyncio
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from tunnel_whisperer.errors import NotGrantedError, TwError
from tunnel_whisperer.problems import quote
from tunnel_whisperer.users.keys import PublicKey

OPERATIONS: Mapping[str, tuple[str, ...]] = {
    "whoami": (),
    "renew": ("csr",),
    "enrol": ("ssh_public_key", "csr"),
}
"""Each operation with its fields, all of which are texts and have to be there."""

WAITING = 64
"""So many requests may wait at once for those before them; one more is turned away."""

_logger = logging.getLogger("tunnel_whisperer.server")


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks, as the login has proved it."""

    user: str
    key: PublicKey


class Engine(Protocol):
    """Who grants what is asked for; every method raises TwError, NotGrantedError with words for whoever asked."""

    async def whoami(self, asker: Asker) -> Mapping[str, Any]:
        """Tell a user of itself."""
        ...

    async def renew(self, asker: Asker, csr: str) -> Mapping[str, Any]:
        """Certify a user's key anew."""
        ...

    async def enrol(self, asker: Asker, ssh_public_key: str, csr: str) -> Mapping[str, Any]:
        """Give a user lasting credentials for the short-lived ones it was given."""
        ...


def read_request(line: bytes) -> tuple[str, dict[str, str]]:
    """Return the operation that a line asks for, and its fields; raises NotGrantedError."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        raise NotGrantedError("a request is one line of JSON") from None
    if not isinstance(found, dict):
        raise NotGrantedError("a request is an object with op")
    operation = found.pop("op", None)
    fields = OPERATIONS.get(operation) if isinstance(operation, str) else None
    if fields is None or not isinstance(operation, str):
        raise NotGrantedError(f"unknown op {quote(operation)}; known: {', '.join(OPERATIONS)}")
    if set(found) != set(fields):
        raise NotGrantedError(f"{operation} takes {', '.join(fields) or 'no fields'}")
    for name, value in found.items():
        if not isinstance(value, str):
            raise NotGrantedError(f"{name} is no text")
    return operation, found


def refusal(why: str, *, retry: bool = False) -> bytes:
    """Write an answer that says no."""
    return json.dumps({"ok": False, "error": why, "retry": retry}).encode()


class Requests:
    """Answers requests, one at a time: each may rewrite the users file."""

    def __init__(self, engine: Engine) -> None:
        """Let `engine` do what is asked."""
        self._engine = engine
        self._turn = asyncio.Lock()
        self._waiting = 0

    async def answer(self, asker: Asker, line: bytes) -> bytes:
        """Answer one request."""
        try:
            operation, fields = read_request(line)
            answer = await self._in_turn(asker, operation, fields)
        except NotGrantedError as error:
            _logger.warning("%s: asked in vain: %s", asker.user, error)
            return refusal(str(error), retry=error.retry)
        except TwError as error:
            _logger.error("%s: cannot be answered: %s", asker.user, error)
            return refusal("the server cannot do that just now; its log says why", retry=True)
        return json.dumps({"ok": True, **answer}).encode()

    async def _in_turn(self, asker: Asker, operation: str, fields: Mapping[str, str]) -> Mapping[str, Any]:
        if self._waiting >= WAITING:
            raise NotGrantedError("too many ask at once; ask again in a minute", retry=True)
        self._waiting += 1
        try:
            async with self._turn:
                match operation:
                    case "renew":
                        return await self._engine.renew(asker, **fields)
                    case "enrol":
                        return await self._engine.enrol(asker, **fields)
                    case _:
                        return await self._engine.whoami(asker)
        finally:
            self._waiting -= 1
