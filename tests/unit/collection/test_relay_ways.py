"""By which way the relay is reached while sshd and the firewall change, and after the tunnel is gone."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.collection.roles import variable

TUNNEL = "-o ProxyCommand='tw relay dial'"
DIRECT = "-o ProxyJump=jump.example.com -o UserKnownHostsFile=/etc/known"
BY_TUNNEL = {"control_reached": "tunnel", "__relay_way": f"{TUNNEL} {DIRECT}", "control_direct": {"ssh_args": DIRECT}}
BY_SSH = {"control_reached": "direct", "__relay_way": DIRECT, "control_direct": {"ssh_args": DIRECT}}


def way(**known: Any) -> str:
    return str(variable("relay", "__relay_way_that_stays", relay_tunnel_ssh_args=TUNNEL, **known))


@pytest.mark.parametrize("here", [BY_TUNNEL, BY_SSH])
def test_the_way_that_stays_when_port_22_closes_is_the_tunnel(here: dict[str, Any]) -> None:
    assert way(**here) == f"{TUNNEL} {DIRECT}"


@pytest.mark.parametrize("here", [BY_TUNNEL, BY_SSH])
def test_the_way_that_stays_when_port_22_is_left_open_is_the_one_there_is(here: dict[str, Any]) -> None:
    assert way(relay_ssh_public=True, **here) == here["__relay_way"]


@pytest.mark.parametrize("here", [BY_TUNNEL, BY_SSH])
def test_the_way_that_stays_when_the_tunnel_goes_is_what_the_inventory_says(here: dict[str, Any]) -> None:
    assert way(relay_state="absent", **here) == DIRECT
    assert variable("relay", "__relay_direct_way", **here) == DIRECT


def test_the_operator_can_name_another_way_without_the_tunnel() -> None:
    known = {"relay_state": "absent", "relay_direct_ssh_args": "-o Port=2200"}
    assert way(**known, **BY_TUNNEL) == "-o Port=2200"
    assert way(**known, __relay_way=TUNNEL) == "-o Port=2200", "the role by itself, with a tunnel of the operator's"
