"""A control node, a server and a client in one folder, for the tests of what the engine makes there."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tunnel_whisperer.files import Change, Transaction
from tunnel_whisperer.identity import Identity
from tunnel_whisperer.provision.authority import AuthorityState, provision_authority
from tunnel_whisperer.provision.contexts import ContextsOutcome, provision_contexts
from tunnel_whisperer.provision.tenant import TenantIdentity, provision_tenant
from tunnel_whisperer.provision.users import Place, UsersOutcome, provision_users
from tunnel_whisperer.users.plan import Policy

START = datetime(2026, 1, 1, tzinfo=UTC)
BRIDGES = [{"name": "postgres", "host": "127.0.0.1", "port": 5432, "local_port": 5432}]


class World:
    """A control node, a server and a client in one folder, with a clock that the test sets."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.now = START
        self.place = Place(root / "serve", root / "users.json")
        self.tenant_name = "acme"
        self.changes: list[Change] = []

    def changed(self) -> list[str]:
        """The files that the last call changed."""
        return [str(change.path.relative_to(self.root)) for change in self.changes]

    def tenant(self, certificate: str | None = None) -> TenantIdentity:
        with Transaction() as transaction:
            made = provision_tenant(
                transaction, self.root / "serve", self.tenant_name, now=self.now, ca_certificate=certificate
            )
            self.finish(transaction)
        return made

    def authority(self, csr: str | None) -> AuthorityState:
        with Transaction() as transaction:
            made = provision_authority(
                transaction,
                self.root / "control",
                "relay.example.com",
                "correct horse",
                now=self.now,
                tenants={self.tenant_name: {"csr": csr}},
                operators=["primary"],
            )
            self.finish(transaction)
        return made

    def users(self, users: dict[str, Any], *, pretend: bool = False, apps: Any = None, **policy: Any) -> UsersOutcome:
        with Transaction() as transaction:
            made = provision_users(
                transaction,
                users,
                Policy(self.tenant_name, **{"purge": True, **policy}),
                self.place,
                now=self.now,
                apps=apps,
                pretend=pretend,
            )
            self.finish(transaction, pretend=pretend)
        return made

    def contexts(self, **more: Any) -> ContextsOutcome:
        with Transaction() as transaction:
            context = {"tenant": self.tenant_name, "user": "alice", **more}
            made = provision_contexts(
                transaction, self.root / "connect", {"acme": context}, now=self.now, origin="inventory"
            )
            self.finish(transaction)
        return made

    def finish(self, transaction: Transaction, *, pretend: bool = False) -> None:
        self.changes = transaction.changes
        if not pretend:
            transaction.commit()

    def certify(self) -> None:
        """Have the tenant's authority signed and installed."""
        signed = self.authority(self.tenant().csr).tenants[self.tenant_name]
        assert self.tenant(signed).certified

    def alice(self) -> dict[str, Any]:
        """Alice as the server is to have her, from what her host says."""
        prepared = self.contexts().contexts["acme"]
        return {
            "alice": {
                "host": "client1",
                "public_key": prepared.ssh_public_key,
                "csr": prepared.csr,
                "ports": [5432],
            }
        }

    def final(self, told: dict[str, Any], **more: Any) -> dict[str, Any]:
        """All that a context is installed with."""
        return {
            "uuid": told["uuid"],
            "certificate": told["certificate"],
            "relay": {"host": "relay.example.com"},
            "server_host_keys": [(self.root / "serve" / "ssh_host_ed25519_key.pub").read_text()],
            "bridges": BRIDGES,
            **more,
        }

    def leaf(self, folder: str) -> Any:
        return Identity(self.root / folder).tls_certificates()[0]


def result(outcome: UsersOutcome, name: str = "alice") -> dict[str, Any]:
    return {**outcome.result(outcome.plan.actions[name]), "uuid": outcome.uuids.get(name)}
