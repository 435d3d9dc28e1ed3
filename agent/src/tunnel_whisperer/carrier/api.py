"""The users of the relay's Xray, kept live through its HandlerService.

Xray forgets what was added here whenever it restarts; nothing of it is on the relay's disk.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from typing import Protocol

import grpc
import grpc.aio
from google.protobuf.message import Message

from tunnel_whisperer.carrier import handler_pb2 as proto
from tunnel_whisperer.errors import FatalError, RetryableError, TwError

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


Change = tuple[str, str | None]
"""A name with the UUID it is to be put in with; without one it is to be taken out."""


def _unheard(change: Change) -> None:
    """Take no note."""


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

    async def count(self) -> int:
        """Return how many users there are, the server too; it costs next to nothing."""
        async with self._calls() as calls:
            return await calls.count()

    async def change(self, changes: Iterable[Change], done: Callable[[Change], None] = _unheard) -> None:
        """Make changes, begun in their order, and tell `done` of each.

        One that is made already is fine. Open connections of those taken out stay. What Xray refuses keeps nothing else
        from being done.
        """
        async with self._calls() as calls:
            await self._each(iter(changes), calls.change, done)

    @contextlib.asynccontextmanager
    async def _calls(self) -> AsyncIterator["_Calls"]:
        async with grpc.aio.insecure_channel(self._target, options=_OPTIONS) as channel:
            yield _Calls(channel, self._inbound, self._deadline)

    async def _each(
        self, waiting: Iterator[Change], do: Callable[[Change], Awaitable[None]], done: Callable[[Change], None]
    ) -> None:
        refusals: list[FatalError] = []

        async def work() -> None:
            for change in waiting:
                try:
                    await do(change)
                except FatalError as refusal:
                    refusals.append(refusal)
                else:
                    done(change)

        try:
            async with asyncio.TaskGroup() as group:
                for number in range(self._concurrency):
                    group.create_task(work(), name=f"users of the relay's Xray {number}")
        except* TwError as failed:
            raise failed.exceptions[0] from None
        if refusals:
            raise refusals[0]


class _Call(Protocol):
    def __call__(self, request: Message, *, timeout: float) -> Awaitable[Message]: ...


class _Calls:
    """The single requests, over one channel."""

    def __init__(self, channel: grpc.aio.Channel, inbound: str, deadline: float) -> None:
        self._inbound = inbound
        self._deadline = deadline
        self._alter = _method(channel, "AlterInbound", proto.AlterInboundResponse.FromString)
        self._get = _method(channel, "GetInboundUsers", proto.GetInboundUserResponse.FromString)
        self._count = _method(channel, "GetInboundUsersCount", proto.GetInboundUsersCountResponse.FromString)

    async def list(self) -> dict[str, str]:
        """Return name -> UUID as Xray knows them."""
        answer = await self._ask(self._get, proto.GetInboundUserRequest(tag=self._inbound))
        assert isinstance(answer, proto.GetInboundUserResponse)
        return {user.email: proto.VlessAccount.FromString(user.account.value).id for user in answer.users}

    async def count(self) -> int:
        """Return how many users Xray knows."""
        answer = await self._ask(self._count, proto.GetInboundUserRequest(tag=self._inbound))
        assert isinstance(answer, proto.GetInboundUsersCountResponse)
        return answer.count

    async def change(self, change: Change) -> None:
        """Put one user in, or take it out."""
        name, uuid = change
        if uuid is None:
            await self._alter_by(_REMOVE, proto.RemoveUserOperation(email=name), "not found")
            return
        account = _typed(_ACCOUNT, proto.VlessAccount(id=uuid, encryption="none"))
        user = proto.User(email=name, account=account)
        await self._alter_by(_ADD, proto.AddUserOperation(user=user), "already exists")

    async def _alter_by(self, operation: str, message: Message, fine: str) -> None:
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
