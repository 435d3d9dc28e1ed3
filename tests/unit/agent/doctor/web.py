"""A small HTTPS server that behaves as a test wants: an interceptor, an old web server, one with a wrong clock."""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import ssl
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.integration.carrier.certificates import Issued, authority, leaf
from tunnel_whisperer.config import RelayConfig
from tunnel_whisperer.identity import Identity


@dataclass
class Web:
    """What it shows and says; `seen` are the paths asked for."""

    directory: Path
    root: Issued = field(default_factory=lambda: authority("Web Root"))
    certificate: Issued | None = None
    alpn: tuple[str, ...] = ("h2", "http/1.1")
    newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
    clock: float = 0.0
    status: int = 200
    headers: str = ""
    clients: Issued | None = None
    seen: list[str] = field(default_factory=list)

    def relay(self, port: int, **values: object) -> RelayConfig:
        roots = self.directory / "roots.pem"
        self.root.write(roots, self.directory / "root.key")
        return RelayConfig(host="localhost", port=port, roots_file=roots)

    def identity(self, issued: Issued) -> Identity:
        made = Identity(self.directory)
        issued.write(made.tls_chain, made.tls_key)
        return made

    @contextlib.asynccontextmanager
    async def serve(self) -> AsyncIterator[RelayConfig]:
        server = await asyncio.start_server(self._answer, "localhost", 0, ssl=self._context())
        try:
            yield self.relay(server.sockets[0].getsockname()[1])
        finally:
            server.close()
            await asyncio.sleep(0.05)

    def _context(self) -> ssl.SSLContext:
        shown = self.certificate or leaf("localhost", signer=self.root, server=True)
        chain, key = self.directory / "web.crt", self.directory / "web.key"
        shown.write(chain, key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain, key)
        context.maximum_version = self.newest
        if self.alpn:
            context.set_alpn_protocols(self.alpn)
        if self.clients:
            trusted = self.directory / "clients.pem"
            self.clients.write(trusted, self.directory / "clients.key")
            context.load_verify_locations(cafile=trusted)
            context.verify_mode = ssl.CERT_OPTIONAL
        return context

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            self.seen.append(head.split()[1].decode())
            date = email.utils.formatdate(time.time() + self.clock, usegmt=True)
            text = f"HTTP/1.1 {self.status} X\r\nDate: {date}\r\n{self.headers}Content-Length: 0\r\n\r\n"
            writer.write(text.encode())
            await writer.drain()
        writer.transport.abort()
