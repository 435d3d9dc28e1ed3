"""With which code a daemon ends when it cannot start: systemd tries again unless the configuration has to be mended."""

from __future__ import annotations

import socket
import tempfile
from pathlib import Path
from typing import Any, cast

import asyncssh
import pytest

from tunnel_whisperer.config import ConnectConfig, RelayConfig
from tunnel_whisperer.connect import ConnectDaemon
from tunnel_whisperer.errors import ConfigError, FatalError, RetryableError, TwError
from tunnel_whisperer.link.server import EmbeddedServer
from tunnel_whisperer.users.model import UserSet


def test_codes() -> None:
    assert ConfigError.exit_code == 2
    assert {kind.exit_code for kind in (TwError, RetryableError, FatalError)} == {1}


async def test_a_port_that_is_taken_may_be_free_a_moment_later(no_leaks: None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = EmbeddedServer(asyncssh.generate_private_key("ssh-ed25519"), port, UserSet())
        with pytest.raises(RetryableError, match=f"127.0.0.1:{port}: cannot listen: Address already in use"):
            await server.start()


async def test_a_folder_that_cannot_be_made_may_be_possible_a_moment_later(no_leaks: None) -> None:
    with tempfile.TemporaryDirectory(prefix="tw-") as folder:
        key = Path(folder) / "id_ed25519"
        asyncssh.generate_private_key("ssh-ed25519").write_private_key(key)
        key.chmod(0o600)
        config = ConnectConfig(
            context="acme",
            tenant="acme",
            user="alice",
            relay=RelayConfig("relay.example.com"),
            server_host_keys=(),
            identity_dir=Path(folder),
            bridges=(),
            runtime_dir=key / "run",
        )
        daemon = ConnectDaemon(Path(folder) / "connect.yml", config, cast(Any, None))
        with pytest.raises(RetryableError, match="run: cannot be made: Not a directory"):
            await daemon.run()
