"""What a user is to its server. Standard library only: the collection uses it on the controller too."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

from tunnel_whisperer.users import authorized_keys
from tunnel_whisperer.users.targets import Target

ORIGIN_INVENTORY = "inventory"
"""Users that Ansible made; a purge removes only users of its own origin."""


@dataclass(frozen=True)
class User:
    """One user of a tenant, as its server keeps it; `permitopen` in `authorized_key` says what is permitted."""

    name: str
    uuid: str
    authorized_key: str
    apps: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()
    origin: str = ORIGIN_INVENTORY
    certificate: str = ""
    """The user's TLS certificate alone (PEM), empty where none was made; the tenant's intermediate goes behind it."""

    @cached_property
    def targets(self) -> frozenset[Target]:
        """Every target this user may reach."""
        return authorized_keys.parse(self.authorized_key).targets

    @property
    def public_key(self) -> str:
        """The SSH public key: type and base64."""
        return " ".join(self.authorized_key.split(" ")[-3:-1])

    def permits(self, host: str, port: int) -> bool:
        """Say whether this user may open `host:port` at the server's end."""
        return Target(host.lower(), port) in self.targets


class UserSet(Mapping[str, User]):
    """The users of a server by name; `generation` grows by one with every change that was kept."""

    def __init__(self, users: Mapping[str, User] | None = None, generation: int = 0) -> None:
        """Hold `users`; the set itself never changes."""
        self._users = MappingProxyType(dict(users or {}))
        self.generation = generation

    def __getitem__(self, name: str) -> User:
        return self._users[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._users)

    def __len__(self) -> int:
        return len(self._users)
