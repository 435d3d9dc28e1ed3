"""A relay of real parts for each test that asks for it, and carriers that are gone when the test is."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from pathlib import Path

import pytest
import uvloop

from tests.integration.carrier.stand import Stand, binary
from tests.leaks import child_processes
from tunnel_whisperer.carrier import CarrierSettings, XrayCarrier

StartCarrier = Callable[[CarrierSettings], Awaitable[XrayCarrier]]
LoopFactory = Callable[[], asyncio.AbstractEventLoop]


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Mapping[str, LoopFactory]:
    """The daemons run on uvloop; children and streams are at home on asyncio's own loop too."""
    loops: dict[str, LoopFactory] = {"uvloop": uvloop.new_event_loop}
    if item.path.stem == "test_supervision":
        loops["asyncio"] = asyncio.new_event_loop
    return loops


@pytest.fixture
async def stand(no_child_left: None) -> AsyncIterator[Stand]:
    with tempfile.TemporaryDirectory(prefix="tw-stand-") as directory:  # short: it holds unix sockets
        made = Stand(Path(directory))
        try:
            await made.start()
            yield made
        finally:
            await made.stop()


@pytest.fixture
def no_child_left() -> Iterator[None]:
    """Fail the test that leaves a process behind."""
    yield
    assert not child_processes()


@pytest.fixture
async def start_carrier(no_child_left: None) -> AsyncIterator[StartCarrier]:
    """Starts carriers and waits until they are ready."""
    running: list[asyncio.Task[None]] = []
    async with contextlib.AsyncExitStack() as stack:

        async def start(settings: CarrierSettings) -> XrayCarrier:
            runtime = stack.enter_context(tempfile.TemporaryDirectory(prefix="tw-run-"))
            carrier = XrayCarrier(settings, Path(runtime), binary("xray"))
            running.append(asyncio.create_task(carrier.run(), name="carrier"))
            async with asyncio.timeout(10):
                await carrier.wait_ready()
            return carrier

        try:
            yield start
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
