"""What a lab consists of, as data: its networks, the nodes in them, and their names. Nothing here touches the machine.

The address ranges are the same in every lab, because each lab has its own network namespaces::

    public  203.0.113.0/26   outside .1   relays .10…   gates .20 .30   dns .53   acme .54   ctl .60
    servers 10.20.0.0/24     server-gate .1, servers .10…     (a site behind NAT)
    clients 10.30.0.0/24     client-gate .1, clients .10…     (a site behind NAT), guests .200… (machines of people)
    mgmt    10.40.0.0/24     ctl .1, servers .10…, clients .110…
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

from tests.lab.commands import LabError

DOMAIN = "example.test"
SWITCH = "switch"
CONTROL = "ctl"
PUBLIC, SERVERS, CLIENTS, MGMT = "public", "servers", "clients", "mgmt"
PREFIX = {PUBLIC: "203.0.113", SERVERS: "10.20.0", CLIENTS: "10.30.0", MGMT: "10.40.0"}
DNS_ADDRESS = f"{PREFIX[PUBLIC]}.53"
ACME_ADDRESS = f"{PREFIX[PUBLIC]}.54"
ACME_NAME = f"acme.{DOMAIN}"
USERS = ("alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi")
TENANTS = ("acme", "globex", "initech", "umbrella")
LIMIT = 8


@dataclass(frozen=True, slots=True)
class Leg:
    """One interface of a node."""

    interface: str
    network: str
    number: int

    @property
    def address(self) -> str:
        """The address without its prefix length."""
        return f"{PREFIX[self.network]}.{self.number}"

    @property
    def length(self) -> int:
        """The prefix length. The public net is a quarter of its block: the control node may meet the rest elsewhere."""
        return 26 if self.network == PUBLIC else 24


@dataclass(frozen=True, slots=True)
class Node:
    """Something with a network namespace of its own: a host is booted in it, a place just has programs run in it."""

    name: str
    legs: tuple[Leg, ...]
    gateway: str | None = None
    kind: str = "place"

    def address(self, network: str) -> str:
        """Return the node's address in a network."""
        return next(leg.address for leg in self.legs if leg.network == network)


@dataclass(frozen=True, slots=True)
class Shape:
    """How many hosts of each kind a lab has; guests are in the clients' site, and no playbook reaches them."""

    relays: int = 1
    servers: int = 1
    clients: int = 1
    guests: int = 0

    def __post_init__(self) -> None:
        for what, count in asdict(self).items():
            least, most = (0 if what == "guests" else 1), (len(TENANTS) if what == "servers" else LIMIT)
            if not least <= count <= most:
                hint = "1 to 8 relays and clients, 1 to 4 servers, up to 8 guests"
                raise LabError(f"a lab cannot have {count} {what}", hint=hint)


@dataclass(frozen=True, slots=True)
class User:
    """One of the lab's users: who reaches which tenant from which host."""

    name: str
    tenant: str
    host: str
    local_port: int | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole lab."""

    shape: Shape
    hosts: tuple[Node, ...] = field(init=False)
    places: tuple[Node, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "hosts", _hosts(self.shape))
        object.__setattr__(self, "places", _places())

    @property
    def nodes(self) -> tuple[Node, ...]:
        """All nodes but the switch."""
        return self.places + self.hosts

    def kind(self, kind: str) -> tuple[Node, ...]:
        """Return the hosts of a kind: relay, server or client."""
        return tuple(host for host in self.hosts if host.kind == kind)

    @property
    def managed(self) -> tuple[Node, ...]:
        """The hosts that the inventory has."""
        return tuple(host for host in self.hosts if host.kind != "guest")

    def node(self, name: str) -> Node:
        """Find a node; ``relay``, ``server``, ``client`` and ``guest`` mean the first of their kind."""
        for node in self.nodes:
            if node.name in (name, f"{name}1"):
                return node
        names = ", ".join(node.name for node in self.nodes)
        raise LabError(f"the lab has no '{name}'", hint=f"one of {names}")

    def host(self, name: str) -> Node:
        """Find a booted host."""
        node = self.node(name)
        if node.kind == "place":
            raise LabError(f"'{name}' is a network namespace, not a booted host")
        return node

    def public_name(self, relay: Node) -> str:
        """Return a relay's name in the DNS."""
        number = relay.name.removeprefix("relay")
        return f"relay{'' if number == '1' else number}.{DOMAIN}"

    @property
    def names(self) -> dict[str, str]:
        """The public DNS: name to address."""
        relays = {self.public_name(relay): relay.address(PUBLIC) for relay in self.kind("relay")}
        return {ACME_NAME: ACME_ADDRESS, **relays}

    @property
    def tenants(self) -> dict[str, str]:
        """Each server's tenant."""
        return {server.name: tenant for server, tenant in zip(self.kind("server"), TENANTS, strict=False)}

    @property
    def users(self) -> tuple[User, ...]:
        """One user of the first tenant on every client, then one for each further tenant, on local ports of its own."""
        clients = [client.name for client in self.kind("client")]
        tenants = list(self.tenants.values())
        people: list[tuple[str, str, int | None]] = [(TENANTS[0], client, None) for client in clients]
        people += [(tenant, clients[i % len(clients)], 15432 + i) for i, tenant in enumerate(tenants[1:])]
        names = [*USERS, *(f"user{n}" for n in range(len(USERS), len(people)))]
        return tuple(User(name, *person) for name, person in zip(names, people, strict=False))


def _hosts(shape: Shape) -> tuple[Node, ...]:
    world = f"{PREFIX[PUBLIC]}.1"
    hosts = [Node(f"relay{n}", (Leg("eth0", PUBLIC, 9 + n),), world, "relay") for n in range(1, shape.relays + 1)]
    for kind, network, count, mgmt in (("server", SERVERS, shape.servers, 9), ("client", CLIENTS, shape.clients, 109)):
        for n in range(1, count + 1):
            legs = (Leg("eth0", network, 9 + n), Leg("mgmt0", MGMT, mgmt + n))
            hosts.append(Node(f"{kind}{n}", legs, f"{PREFIX[network]}.1", kind))
    guests = range(1, shape.guests + 1)
    hosts += [Node(f"guest{n}", (Leg("eth0", CLIENTS, 199 + n),), f"{PREFIX[CLIENTS]}.1", "guest") for n in guests]
    return tuple(hosts)


def _places() -> tuple[Node, ...]:
    world = f"{PREFIX[PUBLIC]}.1"
    return (
        Node("outside", (Leg("eth0", PUBLIC, 1),)),
        Node("dns", (Leg("eth0", PUBLIC, 53),), world),
        Node("acme", (Leg("eth0", PUBLIC, 54),), world),
        Node("server-gate", (Leg("wan", PUBLIC, 20), Leg("lan", SERVERS, 1)), world),
        Node("client-gate", (Leg("wan", PUBLIC, 30), Leg("lan", CLIENTS, 1)), world),
        Node(CONTROL, (Leg("eth0", PUBLIC, 60), Leg("mgmt0", MGMT, 1))),
    )
