"""The plan of a lab: addresses, names, users, whatever its size."""

from __future__ import annotations

import ipaddress
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.lab import network, plan
from tests.lab.commands import LabError
from tests.lab.paths import Place
from tests.lab.plan import Plan, Shape

shapes = st.builds(
    Shape,
    relays=st.integers(1, 8),
    servers=st.integers(1, 4),
    clients=st.integers(1, 8),
    guests=st.integers(0, 8),
)


def test_smallest_lab_has_one_host_of_each_kind_and_one_user() -> None:
    small = Plan(Shape())
    assert [host.name for host in small.hosts] == ["relay1", "server1", "client1"]
    assert small.names == {"acme.example.test": "203.0.113.54", "relay.example.test": "203.0.113.10"}
    assert small.tenants == {"server1": "acme"}
    assert [(user.name, user.tenant, user.host, user.local_port) for user in small.users] == [
        ("alice", "acme", "client1", None)
    ]


@given(shapes)
def test_no_address_is_given_twice_and_each_lies_in_its_network(shape: Shape) -> None:
    legs = [leg for node in Plan(shape).nodes for leg in node.legs]
    assert len({leg.address for leg in legs}) == len(legs)
    for leg in legs:
        network_of_leg = ipaddress.ip_interface(f"{leg.address}/{leg.length}").network
        assert ipaddress.ip_address(f"{plan.PREFIX[leg.network]}.1") in network_of_leg


@given(shapes)
def test_managed_sites_have_no_leg_in_the_public_net_and_relays_none_in_the_management_net(shape: Shape) -> None:
    for host in Plan(shape).hosts:
        nets = {leg.network for leg in host.legs}
        managed = {f"{host.kind}s", plan.MGMT}
        assert nets == {"relay": {plan.PUBLIC}, "guest": {plan.CLIENTS}}.get(host.kind, managed)


@given(shapes)
def test_every_client_has_a_user_of_the_first_tenant_and_every_tenant_has_a_user(shape: Shape) -> None:
    whole = Plan(shape)
    assert {user.host for user in whole.users if user.tenant == "acme"} == {c.name for c in whole.kind("client")}
    assert {user.tenant for user in whole.users} == set(whole.tenants.values())
    assert len({user.name for user in whole.users}) == len(whole.users)
    on_one_port = [(user.host, user.local_port) for user in whole.users]
    assert len(set(on_one_port)) == len(on_one_port)


@given(shapes)
def test_interfaces_have_names_the_kernel_takes(shape: Shape) -> None:
    whole = Plan(shape)
    ports = [network.port_name(node.name, leg.network) for node in whole.nodes for leg in node.legs]
    assert len(set(ports)) == len(ports)
    assert all(len(port) <= 15 for port in ports)


@pytest.mark.parametrize("counts", [{"relays": 0}, {"servers": 5}, {"clients": 9}, {"clients": -1}])
def test_a_size_that_cannot_be_is_refused_in_words(counts: dict[str, int]) -> None:
    with pytest.raises(LabError, match=r"a lab cannot have -?\d (relays|servers|clients)"):
        Shape(**counts)


def test_a_kind_alone_means_the_first_of_its_kind() -> None:
    whole = Plan(Shape(servers=2))
    assert whole.node("server").name == "server1"
    assert whole.node("server2").name == "server2"
    with pytest.raises(LabError, match=r"no 'mars'(.|\n)*one of outside"):
        whole.node("mars")
    with pytest.raises(LabError, match="not a booted host"):
        whole.host("ctl")


@pytest.mark.parametrize("name", ["", "Demo", "1lab", "a--b", "a-", "a b", "../x", "a" * 21])
def test_names_that_cannot_be_part_of_a_path_are_refused(name: str) -> None:
    with pytest.raises(LabError, match="cannot be called"):
        Place.of(name)


@given(
    st.lists(
        st.from_regex(re.compile(r"[a-z][a-z0-9]{0,8}(-[a-z0-9]{1,5})?", re.ASCII), fullmatch=True),
        min_size=2,
        max_size=2,
        unique=True,
    )
)
def test_two_labs_share_no_name_on_the_machine(names: list[str]) -> None:
    one, other = (Place.of(name) for name in names)
    assert one.uplink != other.uplink
    assert len(one.uplink) <= 15
    assert one.nft_table != other.nft_table
    assert one.cgroup != other.cgroup
    assert not one.namespace("ctl").startswith(other.namespace(""))
