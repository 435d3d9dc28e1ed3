"""Makes and removes a lab's networks: namespaces, bridges in a namespace of their own, one uplink to the machine."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.lab import firewall, kernel
from tests.lab.commands import LabError, run
from tests.lab.paths import LOCKS, Place, locked
from tests.lab.plan import CONTROL, PREFIX, SWITCH, Node, Plan

UPLINK_LOCK = LOCKS / "tunnel-whisperer-lab-uplinks.lock"
NETNS_ETC = Path("/etc/netns")


def switch_commands(plan: Plan, place: Place) -> list[str]:
    """Return the ``ip -batch`` lines that make the bridges and plug every node into them."""
    lines = ["link set lo up"]
    for network in PREFIX:
        lines += [f"link add {network} type bridge", f"link set {network} up"]
    for node in plan.nodes:
        for leg in node.legs:
            port = port_name(node.name, leg.network)
            lines += [
                f"link add {port} type veth peer name {leg.interface} netns {place.namespace(node.name)}",
                f"link set {port} master {leg.network} up",
            ]
    return lines


def node_commands(node: Node) -> list[str]:
    """Return the ``ip -batch`` lines that give a node its addresses and its way out."""
    lines = ["link set lo up"]
    for leg in node.legs:
        lines += [f"addr add {leg.address}/{leg.length} dev {leg.interface}", f"link set {leg.interface} up"]
    if node.gateway:
        lines.append(f"route add default via {node.gateway}")
    return lines


def port_name(node: str, network: str) -> str:
    """Name the switch's end of a node's cable."""
    return f"{node}-{network[:3]}"


def uplink_network(number: int) -> tuple[str, str, str]:
    """Return network, machine's address and control node's address of the numbered uplink."""
    base = f"10.213.{number >> 6}."
    last = (number & 63) << 2
    return f"{base}{last}/30", f"{base}{last + 1}", f"{base}{last + 2}"


def free_uplink(taken: Iterable[str]) -> int:
    """Return the lowest uplink number none of whose addresses is in use on the machine."""
    addresses = set(taken)
    for number in range(1 << 14):
        if addresses.isdisjoint(uplink_network(number)[1:]):
            return number
    raise LabError("all 16384 uplink networks for labs are in use on this machine")


def batch(lines: Sequence[str], namespace: str | None = None) -> None:
    """Give lines to ``ip -batch``."""
    where = [] if namespace is None else ["-n", namespace]
    run(["ip", *where, "-batch", "-"], input="\n".join(lines) + "\n")


def create(plan: Plan, place: Place) -> None:
    """Make all namespaces, cables, addresses and the gateways' rules."""
    names = [SWITCH, *(node.name for node in plan.nodes)]
    batch([f"netns add {place.namespace(name)}" for name in names])
    batch(switch_commands(plan, place), place.namespace(SWITCH))
    for node in plan.nodes:
        batch(node_commands(node), place.namespace(node.name))
        gate = node.name.endswith("-gate")
        # A new namespace takes over what the machine does, so the places that must not forward are told as well.
        within(place, node.name, ["sysctl", "-q", "-w", f"net.ipv4.ip_forward={int(gate)}"])
        if gate:
            within(place, node.name, ["nft", "-f", "-"], input=firewall.gate_rules())


def within(place: Place, node: str, argv: Sequence[str], *, input: str | None = None) -> None:
    """Run a short command in a node's network namespace."""
    run(["ip", "netns", "exec", place.namespace(node), *argv], input=input)


def namespaces(place: Place) -> list[str]:
    """List the network namespaces that belong to the lab."""
    own = place.namespace("")
    return sorted(path.name for path in Path("/run/netns").glob("*") if path.name.startswith(own))


def inside(place: Place) -> bool:
    """Say whether this very process runs in one of the lab's namespaces."""
    own = Path("/proc/self/ns/net").stat().st_ino
    return any(Path("/run/netns", name).stat().st_ino == own for name in namespaces(place))


def uplink_stands(place: Place) -> bool:
    """Say whether the lab's uplink interface is there."""
    return Path("/sys/class/net", place.uplink).exists()


def connect(place: Place) -> None:
    """Give the control node its way to the machine's network, for the package registries it builds from."""
    with locked(UPLINK_LOCK):
        network, ours, theirs = uplink_network(free_uplink(_machine_addresses()))
        control = place.namespace(CONTROL)
        mtu = _mtu()
        batch(
            [
                f"link add {place.uplink} mtu {mtu} type veth peer name uplink mtu {mtu} netns {control}",
                f"addr add {ours}/30 dev {place.uplink}",
                f"link set {place.uplink} up",
            ]
        )
        batch([f"addr add {theirs}/30 dev uplink", "link set uplink up", f"route add default via {ours}"], control)
        kernel.raise_settings()
        run(["nft", "-f", "-"], input=firewall.uplink_rules(place.nft_table, place.uplink, network))


def disconnect(place: Place) -> None:
    """Remove the uplink and its rules; the last lab to go leaves the kernel's settings as the first one found them."""
    with locked(UPLINK_LOCK, keep=False):
        run(["nft", "-f", "-"], input=f"table ip {place.nft_table}\ndelete table ip {place.nft_table}\n")
        if uplink_stands(place):
            run(["ip", "link", "del", place.uplink])
        others = list(Path("/sys/class/net").glob("twup-*"))
        if not others:
            kernel.restore_settings()


def destroy(place: Place) -> None:
    """Remove the lab's namespaces, and with them every cable, address and rule inside."""
    for name in namespaces(place):
        run(["ip", "netns", "del", name])
    for folder in NETNS_ETC.glob(f"{place.namespace('')}*"):
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
    if NETNS_ETC.is_dir() and not any(NETNS_ETC.iterdir()):
        NETNS_ETC.rmdir()


def resolve_with(place: Place, node: str, server: str) -> None:
    """Make programs started in a node's namespace ask the given DNS server."""
    folder = NETNS_ETC / place.namespace(node)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "resolv.conf").write_text(f"nameserver {server}\n")


def _machine_addresses() -> list[str]:
    answer = json.loads(run(["ip", "-json", "-4", "address"]).stdout)
    return [info["local"] for link in answer for info in link.get("addr_info", [])]


def _mtu() -> int:
    route = run(["ip", "-4", "route", "show", "default"]).stdout
    device = re.search(r"\bdev (\S+)", route)
    return int(Path("/sys/class/net", device[1], "mtu").read_text()) if device else 1500
