"""A cell for each test, both ends of the link layer around it, and a look at what is left afterwards."""

from __future__ import annotations

import asyncio
import gc
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import asyncssh
import pytest
import uvloop

from tests.integration.carrier.stand import Stand as Relay
from tests.integration.link.cell import Cell
from tests.integration.link.daemons import Daemons, daemons
from tests.integration.link.stand import Stand
from tests.leaks import SETTLE_ROUNDS, child_processes, open_descriptors, running_tasks

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Mapping[str, LoopFactory]:
    """The daemons run on uvloop; the pump is at home on asyncio's own loop too, which behaves differently."""
    loops: dict[str, LoopFactory] = {"uvloop": uvloop.new_event_loop}
    if item.path.stem == "test_flows":
        loops["asyncio"] = asyncio.new_event_loop
    return loops


@pytest.fixture
async def nothing_left() -> AsyncIterator[None]:
    """Fail the test that leaves a task running, a descriptor open or a child process behind.

    Descriptors are compared by kind: uvloop makes its own socket pair anew for each fixture and test.
    """
    server = await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0)
    server.close()  # libuv keeps a descriptor of its own from its first listener on
    await server.wait_closed()
    before = kinds(open_descriptors())
    yield
    tasks, opened = running_tasks(), kinds(open_descriptors()) - before
    for _ in range(SETTLE_ROUNDS):
        if not tasks and not opened:
            break
        gc.collect()
        await asyncio.sleep(0.01)
        tasks, opened = running_tasks(), kinds(open_descriptors()) - before
    assert not tasks, f"still running: {sorted(task.get_name() for task in tasks)}"
    assert not opened, f"still open: {dict(opened)}"
    assert not child_processes(), f"child processes left: {child_processes()}"


def kinds(descriptors: Counter[str]) -> Counter[str]:
    """Forget which socket or pipe it is."""
    counted: Counter[str] = Counter()
    for leads_to, count in descriptors.items():
        counted[leads_to.partition(":[")[0]] += count
    return counted


@pytest.fixture
async def cell(nothing_left: None) -> AsyncIterator[Cell]:
    made = Cell()
    try:
        await made.start()
        yield made
    finally:
        made.close()


@pytest.fixture
async def stand(cell: Cell) -> AsyncIterator[Stand]:
    made = Stand(cell)
    try:
        yield made
    finally:
        await made.close()


@pytest.fixture
async def processes(cell: Cell) -> AsyncIterator[Daemons]:
    """Starts daemons in processes of their own."""
    async with daemons(cell) as made:
        yield made


@pytest.fixture
async def whole(nothing_left: None) -> AsyncIterator[Daemons]:
    """Starts daemons over real carriers, Caddy and Xray, into a real sshd: everything but the lab."""
    with tempfile.TemporaryDirectory(prefix="tw-stand-") as directory:
        relay = Relay(Path(directory))
        try:
            await relay.start()
            cell = Cell(relay.api_port)
            try:
                await cell.start()
                async with daemons(cell, relay) as made:
                    yield made
            finally:
                cell.close()
        finally:
            await relay.stop()


@pytest.fixture(scope="session")
def alice() -> asyncssh.SSHKey:
    """A user's key."""
    return asyncssh.generate_private_key("ssh-ed25519")
