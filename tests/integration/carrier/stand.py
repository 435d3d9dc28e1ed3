"""A relay on this machine's loopback, of real parts: Caddy with the gate, and Xray behind it for the tenant `acme`.

It has no cell (that needs root): what the tenant may reach at the relay are the ports the test opens.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.integration.carrier import certificates
from tests.integration.carrier.certificates import Issued
from tunnel_whisperer.carrier import CarrierSettings
from tunnel_whisperer.carrier.tether import tethered
from tunnel_whisperer.config import Profile, RelayConfig

HOST = "localhost"
TENANT = "acme"
ORDINARY_PAGE = "It is raining in the mountains."


def binary(name: str) -> Path:
    """Find Caddy or Xray: TW_TEST_CADDY, TW_TEST_XRAY, or what the control role has fetched into the cache."""
    variable = f"TW_TEST_{name.upper()}"
    if given := os.environ.get(variable):
        return Path(given)
    cache = Path(os.environ.get("TW_CACHE") or Path.home() / ".cache" / "tunnel-whisperer")
    found = sorted((path for path in cache.glob(f"{name}-*/{name}") if _runs(path)), key=os.path.getmtime)
    if found:
        return found[-1]
    if on_path := shutil.which(name):
        return Path(on_path)
    raise AssertionError(f"no {name} to test with: set {variable}, or let 'make integration' fetch it into {cache}")


def _runs(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@dataclass
class Stand:
    """Started by `start`; `directory` holds everything it writes."""

    directory: Path
    port: int = field(default_factory=free_port)
    api_port: int = field(default_factory=free_port)
    ssh_port: int = field(default_factory=free_port)
    """Where the relay's port 22 leads to; a stand cannot have the real one."""
    server_uuid: str = field(default_factory=lambda: str(uuid.uuid4()))
    caddy: asyncio.subprocess.Process | None = None
    xray: asyncio.subprocess.Process | None = None

    def __post_init__(self) -> None:
        self.run = self.directory / "run"
        (self.run / TENANT).mkdir(parents=True)
        (self.directory / "site").mkdir()
        (self.directory / "site" / "index.html").write_text(f"<p>{ORDINARY_PAGE}</p>\n")
        (self.directory / "site" / "404.html").write_text("<p>There is nothing here.</p>\n")
        self.web_root = certificates.authority("Test Web Root")
        web = certificates.leaf(HOST, signer=self.web_root, server=True)
        web.write(self.directory / "web.crt", self.directory / "web.key")
        self.roots_file = self.directory / "roots.pem"
        self.web_root.write(self.roots_file, self.directory / "web_root.key")
        self.root = certificates.authority("Internal Root")
        self.root.write(self.directory / "root.crt", self.directory / "root.key")
        self.tenant_ca = certificates.authority("Internal Acme", signer=self.root, permitted=f"{TENANT}.tw.internal")

    async def start(self) -> None:
        (self.directory / "Caddyfile").write_text(self._caddyfile())
        (self.directory / "relay.json").write_text(json.dumps(self._xray_config(), indent=1))
        await self.start_xray()
        await self.start_caddy()

    async def start_caddy(self) -> None:
        self.caddy = await self._spawn(
            str(binary("caddy")), "run", "--config", str(self.directory / "Caddyfile"), "--adapter", "caddyfile"
        )
        await answers(HOST, self.port)

    async def start_xray(self) -> None:
        (self.run / TENANT / "xray.sock").unlink(missing_ok=True)
        self.xray = await self._spawn(str(binary("xray")), "run", "-config", str(self.directory / "relay.json"))
        await answers("127.0.0.1", self.api_port)

    async def kill_xray(self) -> None:
        assert self.xray
        self.xray.kill()
        await self.xray.wait()

    async def stop(self) -> None:
        for process in (self.caddy, self.xray):
            if process and process.returncode is None:
                process.send_signal(signal.SIGKILL)
                await process.wait()

    def identity(self, name: str, *, issued: Issued | None = None, given_uuid: str | None = None) -> Path:
        """Make an identity directory for `name` (`server` or a user); `issued` replaces its proper certificate."""
        directory = self.directory / f"identity-{name}"
        directory.mkdir(mode=0o750)
        issued = issued or certificates.leaf(f"{name}.{TENANT}.tw.internal", signer=self.tenant_ca)
        issued.write(directory / "tls.crt", directory / "tls.key")
        secret = directory / "vless_uuid"
        secret.touch(mode=0o600)
        secret.write_text(given_uuid or (self.server_uuid if name == "server" else str(uuid.uuid4())) + "\n")
        return directory

    def relay(self, profile: Profile = "h2") -> RelayConfig:
        return RelayConfig(host=HOST, port=self.port, profile=profile, roots_file=self.roots_file)

    def settings(self, identity: Path, profile: Profile = "h2") -> CarrierSettings:
        return CarrierSettings.for_entry(self.relay(profile), TENANT, identity)

    def connections(self) -> set[tuple[str, int]]:
        """The far ends of the TCP connections that Caddy's port has now."""
        found = set()
        for family, digits in (("tcp", 8), ("tcp6", 32)):
            for line in Path(f"/proc/net/{family}").read_text().splitlines()[1:]:
                _, local, remote, state, *_ = line.split()
                if int(local[digits + 1 :], 16) == self.port and state == "01":
                    found.add((remote[:digits], int(remote[digits + 1 :], 16)))
        return found

    async def _spawn(self, *command: str) -> asyncio.subprocess.Process:
        home = {"HOME": str(self.directory), "PATH": os.environ["PATH"]}
        with (self.directory / f"{Path(command[0]).name}.log").open("ab") as log:
            return await asyncio.create_subprocess_exec(*tethered(command), stdout=log, stderr=log, env=home)

    def _caddyfile(self) -> str:
        first_name = "{http.request.tls.client.san.dns_names.0}"
        gate = (
            "path_regexp('tenant', '^/tw/([a-z0-9-]{1,24})(/|$)') && "
            f"{first_name} != null && {first_name}.endsWith('.' + {{re.tenant.1}} + '.tw.internal')"
        )
        return f"""
{{
    admin off
    auto_https off
    grace_period 2s
    servers {{
        protocols h1 h2
        timeouts {{
            read_body_idle 24h
            write_idle 24h
        }}
    }}
}}
https://{HOST}:{self.port} {{
    tls {self.directory}/web.crt {self.directory}/web.key {{
        protocols tls1.3
        client_auth {{
            mode verify_if_given
            trust_pool file {self.directory}/root.crt
        }}
    }}
    @tenant expression `{gate}`
    handle @tenant {{
        reverse_proxy unix/{self.run}/{{re.tenant.1}}/xray.sock {{
            transport http {{
                versions h2c
            }}
            header_up X-TW-Edge 1
        }}
    }}
    handle {{
        root * {self.directory}/site
        file_server
    }}
    handle_errors {{
        root * {self.directory}/site
        rewrite * /404.html
        file_server
    }}
}}
"""

    def _xray_config(self) -> dict[str, Any]:
        return {
            "log": {"loglevel": "info"},
            "api": {
                "tag": "api",
                "listen": f"127.0.0.1:{self.api_port}",
                "services": ["HandlerService", "StatsService"],
            },
            "policy": {"levels": {"0": {"connIdle": 600, "uplinkOnly": 0, "downlinkOnly": 10}}},
            "inbounds": [
                {
                    "tag": "tenant-in",
                    "listen": f"{self.run / TENANT / 'xray.sock'},0600",
                    "protocol": "vless",
                    "settings": {
                        "clients": [{"id": self.server_uuid, "email": "server"}],
                        "decryption": "none",
                    },
                    "streamSettings": {
                        "network": "xhttp",
                        "xhttpSettings": {"path": f"/tw/{TENANT}", "mode": "auto"},
                        "sockopt": {"trustedXForwardedFor": ["X-TW-Edge"]},
                    },
                }
            ],
            "outbounds": [
                {
                    "tag": "direct",
                    "protocol": "freedom",
                    "settings": {"finalRules": [{"action": "allow", "ip": ["127.0.0.0/8"]}]},
                },
                {
                    "tag": "ssh",
                    "protocol": "freedom",
                    "settings": {
                        "redirect": f"127.0.0.1:{self.ssh_port}",
                        "finalRules": [{"action": "allow", "ip": ["127.0.0.0/8"]}],
                    },
                },
            ],
            "routing": {"rules": [{"port": 22, "outboundTag": "ssh"}]},
        }


async def answers(host: str, port: int, *, within: float = 10.0) -> None:
    """Wait until something listens at `host:port`."""
    async with asyncio.timeout(within):
        while True:
            try:
                _, writer = await asyncio.open_connection(host, port)
            except OSError:
                await asyncio.sleep(0.02)
                continue
            writer.close()
            await writer.wait_closed()
            return
