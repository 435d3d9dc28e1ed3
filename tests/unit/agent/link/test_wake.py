"""What breaks links silently is noticed by clocks and routes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunnel_whisperer.link.wake import WakeWatch, default_routes

ROUTE = """Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t0000000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
"""
ROUTE6 = """fd000000000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003     eth0
"""  # noqa: E501 - as the kernel writes it


@pytest.mark.parametrize(
    ("ran", "booted", "routes", "said"),
    [
        (1.0, 1.0, "a", None),
        (1.5, 1.5, "a", None),
        (1.0, 61.0, "a", "the host slept for 60 s"),
        (31.0, 31.0, "a", "this process stood still for 30 s"),
        (1.0, 1.0, "b", "the way out of this host changed"),
    ],
)
def test_what_happened_since_the_last_look(ran: float, booted: float, routes: str, said: str | None) -> None:
    running, boot, ways = [50.0], [500.0], ["a"]
    watch = WakeWatch(running=lambda: running[0], boot=lambda: boot[0], routes=lambda: ways[0])
    running[0] += ran
    boot[0] += booted
    ways[0] = routes
    assert watch.look() == said
    running[0] += 1.0
    boot[0] += 1.0
    assert watch.look() is None, "said once"


def test_default_routes_are_where_packets_leave(tmp_path: Path) -> None:
    (tmp_path / "route").write_text(ROUTE)
    (tmp_path / "ipv6_route").write_text(ROUTE6)
    assert default_routes(tmp_path) == (
        frozenset({"eth0 0100000A"}),
        frozenset({"eth0 fe800000000000000000000000000001"}),
    )
    assert default_routes(tmp_path / "nowhere") == (frozenset(), frozenset())
