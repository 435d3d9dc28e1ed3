"""What a user is to its server. Standard library only: the collection uses it on the controller too."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from types import MappingProxyType

from tunnel_whisperer.users import authorized_keys, times
from tunnel_whisperer.users.grants import NOTHING, ORIGIN_INVENTORY, App, Grant
from tunnel_whisperer.users.targets import Target


@dataclass(frozen=True)
class User:
    """One user of a tenant, as its server keeps it; `permitopen` in `authorized_key` says what is permitted."""

    name: str
    uuid: str
    authorized_key: str
    grant: Grant = NOTHING
    origin: str = ORIGIN_INVENTORY
    certificate: str = ""
    """The user's TLS certificate alone (PEM), empty where none was made; the tenant's intermediate goes behind it."""
    enrolment: datetime | None = None
    """Up to when this user may enrol with the key it was given for that; it can reach nothing until it has."""

    @cached_property
    def targets(self) -> frozenset[Target]:
        """Every target this user may reach."""
        return authorized_keys.parse(self.authorized_key).targets

    @property
    def public_key(self) -> str:
        """The SSH public key: type and base64."""
        return " ".join(self.authorized_key.split(" ")[-3:-1])

    def active(self, now: datetime) -> bool:
        """Say whether this user may come in now."""
        begin, ends = self.grant.not_before, (self.grant.expires, self.enrolment)
        return (begin is None or now >= begin) and all(end is None or now < end for end in ends)

    def state(self, now: datetime) -> str:
        """Say in words whether this user may come in now, and if not, why not."""
        begin, expires, enrolment = self.grant.not_before, self.grant.expires, self.enrolment
        if expires is not None and now >= expires:
            return "ended"
        if enrolment is not None and now >= enrolment:
            return "enrolment ran out"
        if begin is not None and now < begin:
            return "not yet"
        return "active" if enrolment is None else f"to enrol until {times.write(enrolment)}"

    def permits(self, host: str, port: int) -> bool:
        """Say whether this user, while active, may open `host:port` at the server's end."""
        return self.enrolment is None and Target(host.lower(), port) in self.targets


class UserSet(Mapping[str, User]):
    """The users of a server by name, and its apps; `generation` grows by one with every change that was kept."""

    def __init__(
        self, users: Mapping[str, User] | None = None, generation: int = 0, apps: Mapping[str, App] | None = None
    ) -> None:
        """Hold `users` and `apps`; the set itself never changes."""
        self._users = MappingProxyType(dict(users or {}))
        self.apps: Mapping[str, App] = MappingProxyType(dict(apps or {}))
        self.generation = generation

    def __getitem__(self, name: str) -> User:
        return self._users[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._users)

    def __len__(self) -> int:
        return len(self._users)

    def active(self, now: datetime) -> "UserSet":
        """Return the users who may come in now."""
        users = {name: user for name, user in self._users.items() if user.active(now)}
        return UserSet(users, self.generation, self.apps)

    def next_change(self, now: datetime) -> datetime | None:
        """Return the next moment at which time alone lets a user in or out; None where there is none."""
        moments = (
            moment
            for user in self._users.values()
            for moment in (user.grant.not_before, user.grant.expires, user.enrolment)
            if moment is not None and moment > now
        )
        return min(moments, default=None)
