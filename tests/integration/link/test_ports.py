"""Local ports that were chosen on this host, in a daemon that runs."""

from __future__ import annotations

import asyncssh
import pytest

from tests.integration.link.cell import free_ports
from tests.integration.link.daemons import Daemons
from tests.integration.link.stand import user
from tests.integration.link.targets import BANNER, banner, connected, echo, echoed, hear, serving
from tunnel_whisperer import ports
from tunnel_whisperer.errors import TwError
from tunnel_whisperer.ports import LocalEnd


async def test_a_chosen_port_is_followed_by_reload_and_other_bridges_do_not_notice(
    processes: Daemons, alice: asyncssh.SSHKey
) -> None:
    async with serving(banner) as mail, serving(echo) as other:
        usual = free_ports(3)
        chosen = usual + 2
        processes.set_users(user("alice", alice, mail, other))
        server = await processes.serve()
        bridges = [
            {"name": "mail", "port": mail, "local_port": usual},
            {"name": "other", "port": other, "local_port": usual + 1},
        ]
        client = await processes.connect("alice", alice, bridges)
        await server.until_state("up")
        await client.until_state("up")
        async with connected(usual + 1) as flow:
            assert await echoed(flow)
            file = client.config.with_name("ports.yml")
            file.write_bytes(ports.write({"mail": LocalEnd(chosen)}))
            assert (await client.ask("reload"))["changed"] == ["bridge mail changed"]
            assert await hear(chosen) == BANNER
            with pytest.raises(ConnectionRefusedError):
                await hear(usual)
            file.write_bytes(ports.write({"mail": LocalEnd(usual + 1)}))
            with pytest.raises(TwError, match='ports.yml: bridges "mail" and "other" would both listen at'):
                await client.ask("reload")
            assert await hear(chosen) == BANNER
            file.unlink()
            assert (await client.ask("reload"))["changed"] == ["bridge mail changed"]
            assert await hear(usual) == BANNER
            assert await echoed(flow)
