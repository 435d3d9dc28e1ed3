"""What the operator decides: one typed, frozen value for each configuration file of the agent."""

from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Literal, cast

from tunnel_whisperer import config_reader, names, places, ports
from tunnel_whisperer.config_reader import Section
from tunnel_whisperer.users.keys import read_public_key
from tunnel_whisperer.users.targets import read_host

Profile = Literal["h2", "h1"]
"""How a carrier looks: `h2` greets as a browser does, `h1` is the fastest."""

PROFILES: tuple[Profile, ...] = ("h2", "h1")
DEFAULT_XRAY = Path("/opt/tw/bin/xray")
DEFAULT_SERVE = Path("/etc/tw/serve.yml")
STATE = Path("/var/lib/tw")
_SOCKET_ROOM = 107 - len("/xray-api.sock")
"""Characters a runtime directory may have: the kernel takes 107 for the path of a unix socket."""


@dataclass(frozen=True, slots=True)
class RelayConfig:
    """How to reach the relay; `roots_file` replaces the system's trusted roots, `links` are held at once."""

    host: str
    port: int = 443
    profile: Profile = "h2"
    roots_file: Path | None = None
    links: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeConfig:
    """The server side of a tenant (`tw serve`)."""

    tenant: str
    relay: RelayConfig
    relay_host_keys: tuple[str, ...]
    identity_dir: Path = Path("/etc/tw/serve")
    users_file: Path = Path("/var/lib/tw/serve/users.json")
    ssh_port: int = 2222
    target_hosts: tuple[str, ...] = ()
    """Hosts behind the server that users may reach besides the server itself, where they are permitted to."""
    runtime_dir: Path = Path("/run/tw-serve")
    state_dir: Path = STATE / "serve"
    """What the daemon itself writes and keeps."""
    xray: Path = DEFAULT_XRAY


@dataclass(frozen=True, slots=True, kw_only=True)
class Bridge:
    """A local address on the client, and the `host:port` at the server it leads to."""

    name: str
    port: int
    local_port: int
    host: str = "127.0.0.1"
    listen: str = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectConfig:
    """One context of a client: a user of a tenant with its bridges (`tw connect`)."""

    context: str
    tenant: str
    user: str
    relay: RelayConfig
    server_host_keys: tuple[str, ...]
    identity_dir: Path
    bridges: tuple[Bridge, ...]
    runtime_dir: Path
    state_dir: Path | None = None
    """What the daemon itself writes and keeps; nothing where it is None."""
    xray: Path = DEFAULT_XRAY


@dataclass(frozen=True, slots=True, kw_only=True)
class DialConfig:
    """The operator's way to the relay's own sshd (`tw relay dial`); `runtime_dir` is a temporary one when None."""

    relay: RelayConfig
    identity_dir: Path
    entry: str = "operator"
    xray: Path = DEFAULT_XRAY
    runtime_dir: Path | None = None


def load_serve(path: Path) -> ServeConfig:
    """Load `serve.yml`; raises ConfigError."""
    top = config_reader.read(path)
    config = ServeConfig(
        tenant=top.text("tenant", fault=names.tenant_fault, accepted="the tenant's name"),
        relay=_relay(top.section("relay")),
        relay_host_keys=_host_keys(top, "relay_host_keys"),
        identity_dir=top.path("identity_dir", Path("/etc/tw/serve")),
        users_file=top.path("users_file", Path("/var/lib/tw/serve/users.json")),
        ssh_port=top.port("ssh_port", 2222),
        target_hosts=_target_hosts(top),
        runtime_dir=_runtime_dir(top, Path("/run/tw-serve")),
        state_dir=top.path("state_dir", STATE / "serve"),
        xray=top.path("xray", DEFAULT_XRAY),
    )
    top.done()
    return config


def load_connect(path: Path, maps: ports.LocalEnds = MappingProxyType({})) -> ConnectConfig:
    """Load a context's `connect.yml`; raises ConfigError. Without `context` the folder's name is the context.

    Bridges listen where the file says, unless `ports.yml` beside it says otherwise, unless `maps` does.
    """
    config = read_connect(path)
    file = path.with_name(ports.PORTS_FILE)
    bridges = ports.moved(config.bridges, {**ports.load(file), **maps})
    if bridges != config.bridges:
        ports.check_apart(bridges, where=f"{file} and --map" if maps else str(file))
    return replace(config, bridges=bridges)


def read_connect(path: Path) -> ConnectConfig:
    """Read a context's `connect.yml` as it was written; raises ConfigError."""
    top = config_reader.read(path)
    context = top.text("context", path.absolute().parent.name, fault=names.label_fault, accepted="the context's name")
    config = ConnectConfig(
        context=context,
        tenant=top.text("tenant", fault=names.tenant_fault, accepted="the tenant's name"),
        user=top.text("user", fault=names.user_fault, accepted="the user's name"),
        relay=_relay(top.section("relay")),
        server_host_keys=_host_keys(top, "server_host_keys"),
        identity_dir=top.path("identity_dir", path.absolute().parent),
        bridges=_bridges(top),
        runtime_dir=_runtime_dir(top, places.runtime_dir(path, context)),
        state_dir=top.path("state_dir", places.state_dir(path, context)),
        xray=top.path("xray", DEFAULT_XRAY),
    )
    top.done()
    return config


def load_dial(path: Path) -> DialConfig:
    """Load a `dial.yml`; raises ConfigError."""
    top = config_reader.read(path)
    config = DialConfig(
        relay=_relay(top.section("relay")),
        identity_dir=top.path("identity_dir", path.absolute().parent),
        entry=top.text("entry", "operator", fault=names.label_fault, accepted="the name of the entry at the relay"),
        xray=top.path("xray", DEFAULT_XRAY),
        runtime_dir=top.optional_path("runtime_dir"),
    )
    top.done()
    return config


def load_any(path: Path) -> ServeConfig | ConnectConfig | DialConfig:
    """Load a configuration file of whichever kind its keys tell; raises ConfigError."""
    top = config_reader.read(path)
    if top.has("user", "bridges", "server_host_keys", "context"):
        return load_connect(path)
    if top.has("tenant", "relay_host_keys", "users_file", "ssh_port"):
        return load_serve(path)
    return load_dial(path)


def find_context(name: str | None) -> Path:
    """Find the `connect.yml` of a context; without a name the current one, else the only one. Raises ConfigError."""
    return places.find(name).file


def _relay(section: Section) -> RelayConfig:
    relay = RelayConfig(
        host=section.host("host"),
        port=section.port("port", 443),
        profile=cast(Profile, section.choice("profile", "h2", PROFILES)),
        roots_file=section.optional_path("roots_file"),
        links=section.integer("links", 2, low=1, high=8),
    )
    section.done()
    return relay


def _bridges(top: Section) -> tuple[Bridge, ...]:
    found: list[Bridge] = []
    names_seen: set[str] = set()
    ends_seen: dict[tuple[str, int], str] = {}
    for section in top.sections("bridges"):
        port = section.port("port")
        bridge = Bridge(
            name=section.text("name", accepted="the bridge's name"),
            host=section.host("host", "127.0.0.1"),
            port=port,
            listen=section.host("listen", "127.0.0.1"),
            local_port=section.port("local_port", port),
        )
        section.done()
        end = (bridge.listen, bridge.local_port)
        if bridge.name in names_seen:
            raise section.fault("name", bridge.name, "a name no other bridge has")
        if end in ends_seen:
            raise section.fault("local_port", end[1], f"a port that bridge {ends_seen[end]!r} does not take")
        names_seen.add(bridge.name)
        ends_seen[end] = bridge.name
        found.append(bridge)
    return tuple(found)


def _target_hosts(top: Section) -> tuple[str, ...]:
    return top.texts("target_hosts", read_host, accepted="a host name or an IP address", at_least=0)


def _host_keys(top: Section, key: str) -> tuple[str, ...]:
    accepted = "an OpenSSH public key such as 'ssh-ed25519 AAAA…'"
    return top.texts(key, lambda line: str(read_public_key(line)), accepted=accepted)


def _runtime_dir(top: Section, default: Path) -> Path:
    path = top.path("runtime_dir", default)
    if len(str(path)) > _SOCKET_ROOM:
        accepted = f"at most {_SOCKET_ROOM} characters, as sockets are made there; name a shorter one under this key"
        raise top.fault("runtime_dir", str(path), accepted)
    if "," in str(path):  # Xray takes what follows a comma for the socket's mode
        raise top.fault("runtime_dir", str(path), "a path without a comma")
    return path
