"""One Xray that carries our streams to the relay: supervised, dialed through a private unix socket."""

import asyncio
import json
import logging
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakSet

from tunnel_whisperer.carrier import dial
from tunnel_whisperer.carrier.certificate import CertificateFile
from tunnel_whisperer.carrier.child import ChildState, SupervisedChild, Timing
from tunnel_whisperer.carrier.reasons import explain
from tunnel_whisperer.carrier.settings import CarrierSettings
from tunnel_whisperer.carrier.xray_config import client_config
from tunnel_whisperer.errors import ConfigError, RetryableError
from tunnel_whisperer.tls_chain import Chain

P = TypeVar("P", bound=asyncio.BaseProtocol)

DIAL_DEADLINE = 5.0
"""Seconds that Xray has to take a request for a stream; it answers before it tries, so this is no network time."""

LOOK = 2.0
"""Seconds between looks at whether our certificate is another one by now."""

REMIND = 24 * 3600.0
"""Seconds after which the log says again that our certificate has ended."""

_LINE = re.compile(r"^\S+ \S+ \[(?P<level>\w+)\] (?:\[\d+\] )?(?P<text>.*)$")
_LEVELS = {"Debug": logging.DEBUG, "Info": logging.DEBUG, "Warning": logging.INFO, "Error": logging.WARNING}


class XrayCarrier:
    """Keeps one Xray child alive in `runtime_dir` and dials streams through it; each stream is one TLS connection.

    It is a `StreamDialer`. `run` owns the child: cancel it to stop.
    """

    def __init__(
        self, settings: CarrierSettings, runtime_dir: Path, xray: Path, *, timing: Timing | None = None
    ) -> None:
        """Prepare only; nothing happens before `run`."""
        self._settings = settings
        self._xray = xray
        self._config_file = runtime_dir / "xray.json"
        self._socket = runtime_dir / "carrier.sock"
        self._logger = logging.getLogger("tunnel_whisperer.carrier")
        self._certificate = CertificateFile(settings.identity, runtime_dir)
        self._dial_error: str | None = None
        self._streams: WeakSet[asyncio.Transport] = WeakSet()
        self._child = SupervisedChild(
            command=(str(xray), "run", "-config", str(self._config_file)),
            check=lambda deadline: dial.check_health(self._socket, deadline=deadline),
            prepare=self._prepare,
            on_line=self._on_line,
            logger=self._logger,
            timing=timing or Timing(),
        )

    async def run(self) -> None:
        """Keep the carrier up until cancelled.

        Raises ConfigError at once when the identity or the Xray binary cannot be used.
        """
        if not os.access(self._xray, os.X_OK):
            raise ConfigError("there is no Xray that we may run", where=str(self._xray))
        self._settings.identity.uuid()
        self._certificate.begin()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._child.run(), name="Xray")
                group.create_task(self._follow(), name="certificate for Xray")
        finally:
            self._config_file.unlink(missing_ok=True)  # it holds the UUID

    @property
    def chain(self) -> Chain | None:
        """Our certificate in use; None before `run`."""
        return self._certificate.chain

    async def wait_ready(self) -> None:
        """Wait until streams can be dialed."""
        await self._child.wait_ready()

    def status(self) -> dict[str, Any]:
        """Tell `state`, `pid`, `restarts`, and in words the `last_error` (None where all is well)."""
        return {
            "state": self._child.state.value,
            "pid": self._child.pid,
            "restarts": self._child.restarts,
            "last_error": self._trouble(),
        }

    async def create_connection(
        self, protocol_factory: Callable[[], P], host: str, port: int
    ) -> tuple[asyncio.Transport, P]:
        """Open a stream to `host:port` as the relay sees it; raises RetryableError when the carrier is not up."""
        if self._child.state is not ChildState.READY:
            raise RetryableError(f"the carrier is {self._child.state.value}", hint=self._trouble())
        self._dial_error = None
        stream = await dial.dial(self._socket, protocol_factory, host, port, deadline=DIAL_DEADLINE)
        self._streams.add(stream[0])
        return stream

    def _trouble(self) -> str | None:
        chain = self._certificate.chain
        if chain is not None and self._certificate.over:
            return chain.life.ended()
        return self._dial_error if self._child.state is ChildState.READY else self._child.last_error

    async def _follow(self) -> None:
        """Keep the certificate of a child that runs the one in use, until cancelled.

        A child whose certificate has ended can make no more streams. Once the last one is gone it is of no use.
        """
        while True:
            await asyncio.sleep(LOOK)
            self._certificate.follow()
            in_use = any(not stream.is_closing() for stream in self._streams)
            if self._certificate.over and self._child.state is ChildState.READY and not in_use:
                self._child.start_anew()

    async def _serving(self) -> None:
        """Wait until there is a certificate that serves: somebody may bring a new one."""
        self._certificate.follow()
        told = -REMIND
        while (chain := self._certificate.chain) is not None and self._certificate.over:
            if time.monotonic() - told >= REMIND:
                told = time.monotonic()
                self._logger.error("%s", chain.life.ended())
            await asyncio.sleep(LOOK)

    async def _prepare(self) -> None:
        """Make all ready for a new child."""
        await self._serving()
        self._configure()

    def _configure(self) -> None:
        """Write the configuration, and clear away what the last child left."""
        uuid = self._settings.identity.uuid()
        config = client_config(self._settings, uuid=uuid, socket=self._socket, certificate=self._certificate.path)
        for stale in (self._socket, self._config_file):
            stale.unlink(missing_ok=True)
        with open(
            os.open(self._config_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8"
        ) as file:
            json.dump(config, file, indent=1)

    def _on_line(self, line: str) -> None:
        parts = _LINE.match(line)
        level, text = (_LEVELS.get(parts["level"], logging.INFO), parts["text"]) if parts else (logging.DEBUG, line)
        self._logger.log(level, "xray: %s", text)
        self._dial_error = explain(text, self._settings) or self._dial_error
