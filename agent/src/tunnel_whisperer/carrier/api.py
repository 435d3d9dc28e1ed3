"""The users of the relay's Xray, kept live through its HandlerService.

Xray forgets what was added here whenever it restarts; nothing of it is on the relay's disk.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message

from tunnel_whisperer.carrier import handler_pb2 as proto
from tunnel_whisperer.errors import FatalError, RetryableError, TwError
from tunnel_whisperer.names import RESERVED_USERS

T = TypeVar("T")

_SERVICE = "/xray.app.proxyman.command.HandlerService"
_ADD = "xray.app.proxyman.command.AddUserOperation"
_REMOVE = "xray.app.proxyman.command.RemoveUserOperation"
_ACCOUNT = "xray.proxy.vless.Account"
_OPTIONS = (
    # Every look is a connection of its own: a shared one would wait out gRPC's long pauses after a lost link.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_receive_message_length", 64 << 20),
)
_GONE = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED})


@dataclass(frozen=True, slots=True)
class UserChanges:
    """Names that were put in and taken out; one whose UUID changed is in both."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


class RelayUsers:
    """The users of one inbound.

    Every method raises RetryableError while Xray is out of reach, and FatalError where it refuses. At most
    `concurrency` requests are under way at once; each has `deadline` seconds.
    """

    def __init__(
        self, target: str, *, inbound: str = "tenant-in", concurrency: int = 64, deadline: float = 10.0
    ) -> None:
        """`target` is where the API answers, as gRPC writes it: `unix:/path` or `host:port`."""
        self._target = target
        self._inbound = inbound
        self._concurrency = concurrency
        self._deadline = deadline

    async def list(self) -> dict[str, str]:
        """Return all users, the server too: name -> UUID."""
        async with self._calls() as calls:
            return await calls.list()

    async def add(self, users: Mapping[str, str]) -> None:
        """Add users (name -> UUID); one that is there already stays as it is."""
        async with self._calls() as calls:
            await self._each(list(users.items()), calls.add)

    async def remove(self, names: Collection[str]) -> None:
        """Remove users; one that is not there is fine. Their open connections stay."""
        async with self._calls() as calls:
            await self._each(list(names), calls.remove)

    async def reconcile(self, desired: Mapping[str, str], first: Collection[str] = ()) -> UserChanges:
        """Make the users the `desired` ones, beginning with `first`; the server itself stays in any case."""
        async with self._calls() as calls:
            known = {name: uuid for name, uuid in (await calls.list()).items() if name not in RESERVED_USERS}
            stale = [name for name, uuid in known.items() if desired.get(name) != uuid]
            missing = [name for name, uuid in desired.items() if known.get(name) != uuid and name not in RESERVED_USERS]
            missing.sort(key=lambda name: name not in first)
            await self._each(stale, calls.remove)
            await self._each([(name, desired[name]) for name in missing], calls.add)
            return UserChanges(tuple(missing), tuple(stale))

    @contextlib.asynccontextmanager
    async def _calls(self) -> AsyncIterator["_Calls"]:
        async with grpc.aio.insecure_channel(self._target, options=_OPTIONS) as channel:
            yield _Calls(channel, self._inbound, self._deadline)

    async def _each(self, items: Sequence[T], do: Callable[[T], Awaitable[None]]) -> None:
        """Do it to all items, begun in their order; the first failure ends it."""
        waiting = iter(items)

        async def work() -> None:
            for item in waiting:
                await do(item)

        try:
            async with asyncio.TaskGroup() as group:
                for number in range(min(self._concurrency, len(items))):
                    group.create_task(work(), name=f"users of the relay's Xray {number}")
        except* TwError as failed:
            raise failed.exceptions[0] from None


class _Call(Protocol):
    def __call__(self, request: Message, *, timeout: float) -> Awaitable[Message]: ...


class _Calls:
    """The single requests, over one channel."""

    def __init__(self, channel: grpc.aio.Channel, inbound: str, deadline: float) -> None:
        self._inbound = inbound
        self._deadline = deadline
        self._alter = _method(channel, "AlterInbound", proto.AlterInboundResponse.FromString)
        self._get = _method(channel, "GetInboundUsers", proto.GetInboundUserResponse.FromString)

    async def list(self) -> dict[str, str]:
        """Return name -> UUID as Xray knows them."""
        answer = await self._ask(self._get, proto.GetInboundUserRequest(tag=self._inbound))
        assert isinstance(answer, proto.GetInboundUserResponse)
        return {user.email: proto.VlessAccount.FromString(user.account.value).id for user in answer.users}

    async def add(self, user: tuple[str, str]) -> None:
        """Add one user (name, UUID)."""
        name, uuid = user
        account = _typed(_ACCOUNT, proto.VlessAccount(id=uuid, encryption="none"))
        await self._change(_ADD, proto.AddUserOperation(user=proto.User(email=name, account=account)), "already exists")

    async def remove(self, name: str) -> None:
        """Remove one user."""
        await self._change(_REMOVE, proto.RemoveUserOperation(email=name), "not found")

    async def _change(self, operation: str, message: Message, fine: str) -> None:
        request = proto.AlterInboundRequest(tag=self._inbound, operation=_typed(operation, message))
        await self._ask(self._alter, request, fine)

    async def _ask(self, call: _Call, request: Message, fine: str = "") -> Message | None:
        """Make one request; a refusal that ends in `fine` is none."""
        try:
            return await call(request, timeout=self._deadline)
        except grpc.aio.AioRpcError as error:
            details = (error.details() or error.code().name).rstrip(".")
            if fine and details.endswith(fine):
                return None
            where = "the relay's Xray"
            if error.code() in _GONE:
                raise RetryableError(f"its API does not answer: {details}", where=where) from None
            raise FatalError(f"refused: {details}", where=where) from None


def _method(channel: grpc.aio.Channel, name: str, answer: Callable[[bytes], Message]) -> _Call:
    call: _Call = channel.unary_unary(
        f"{_SERVICE}/{name}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=answer,
    )
    return call


def _typed(kind: str, message: Message) -> proto.TypedMessage:
    return proto.TypedMessage(type=kind, value=message.SerializeToString())
