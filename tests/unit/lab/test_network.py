"""What the lab tells ``ip`` and ``nft`` to do."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.lab import firewall, network
from tests.lab.commands import LabError
from tests.lab.paths import Place
from tests.lab.plan import Plan, Shape


def test_every_cable_leads_from_a_bridge_into_its_nodes_namespace() -> None:
    lines = network.switch_commands(Plan(Shape()), Place.of("demo"))
    assert "link add public type bridge" in lines
    assert "link add client1-cli type veth peer name eth0 netns tw.demo.client1" in lines
    assert "link set client1-cli master clients up" in lines


def test_a_site_host_leaves_by_its_gateway_only() -> None:
    lines = network.node_commands(Plan(Shape()).node("server1"))
    assert [line for line in lines if "route" in line] == ["route add default via 10.20.0.1"]
    assert "addr add 10.40.0.10/24 dev mgmt0" in lines


def test_the_control_node_gets_its_way_out_from_the_uplink() -> None:
    assert not [line for line in network.node_commands(Plan(Shape()).node("ctl")) if "route" in line]


@given(st.integers(0, (1 << 14) - 1))
def test_uplinks_are_networks_of_four_addresses(number: int) -> None:
    net, ours, theirs = network.uplink_network(number)
    assert [str(host) for host in ipaddress.ip_network(net).hosts()] == [ours, theirs]
    assert net.startswith("10.213.")


def test_a_new_uplink_takes_the_first_network_nobody_is_in() -> None:
    assert network.free_uplink(["192.168.0.1"]) == 0
    assert network.free_uplink(["10.213.0.1", "10.213.0.6", "10.213.0.13"]) == 2


def test_a_machine_full_of_labs_is_told_so() -> None:
    with pytest.raises(LabError, match="16384"):
        network.free_uplink(network.uplink_network(number)[1] for number in range(1 << 14))


def test_gates_let_out_https_and_dns_and_nothing_else() -> None:
    rules = firewall.gate_rules()
    assert rules.count('iifname "lan" oifname "wan"') == 2
    assert "tcp dport { 53, 443 } accept" in rules
    assert "udp dport 53 accept" in rules
    assert rules.count("policy drop") == 2


def test_uplink_rules_replace_their_own_table_and_touch_no_other() -> None:
    rules = firewall.uplink_rules("tw_lab_demo", "twup-x", "10.213.0.0/30")
    assert rules.splitlines()[:2] == ["table ip tw_lab_demo", "delete table ip tw_lab_demo"]
    assert "flush" not in rules
