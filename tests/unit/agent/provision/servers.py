"""A tenant's server in a folder, certified by a root, with users, and a clock that the test sets."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from tests.unit.agent.users import samples
from tunnel_whisperer import pki
from tunnel_whisperer.files import Transaction
from tunnel_whisperer.identity import Identity
from tunnel_whisperer.provision import renewal
from tunnel_whisperer.provision.renewal import Credentials, Enrolled, Signer
from tunnel_whisperer.provision.tenant import load_authority, provision_tenant
from tunnel_whisperer.provision.users import Place
from tunnel_whisperer.tls_chain import Chain
from tunnel_whisperer.users.authorized_keys import build
from tunnel_whisperer.users.grants import Grant
from tunnel_whisperer.users.keys import PublicKey
from tunnel_whisperer.users.model import User, UserSet
from tunnel_whisperer.users.store import Snapshot, load_users, save
from tunnel_whisperer.users.targets import Target

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
TARGETS = (Target("127.0.0.1", 5432),)


def user(name: str, key: PublicKey, **more: object) -> User:
    line = build(key, TARGETS, f"{name}@acme")
    return User(name, f"uuid-of-{name}", line, Grant(ports=TARGETS), **more)  # type: ignore[arg-type]  # a test's shorthand


def enrolling(name: str, key: PublicKey, *, until: datetime = START + timedelta(hours=1)) -> User:
    return user(name, key, enrolment=until)


def csr(key: pki.TlsKey, name: str = "anything") -> str:
    return pki.make_csr(key, name).decode()


class Server:
    """What `tw serve` and the engine know of a tenant."""

    def __init__(self, folder: Path, *users: User) -> None:
        self.now = START
        self.place = Place(folder / "serve", folder / "state" / "users.json")
        self.state = folder / "state"
        self.state.mkdir()
        self.root = pki.make_root(self.now)
        with Transaction() as transaction:
            made = provision_tenant(transaction, self.place.identity_dir, "acme", now=self.now)
            transaction.commit()
        self.tenant(pki.sign_tenant(self.root, pki.read_csr(made.csr), "acme", self.now))
        self.put(*users)

    def tenant(self, intermediate: x509.Certificate) -> None:
        chain = pki.pem(intermediate, self.root.certificate)
        with Transaction() as transaction:
            provision_tenant(transaction, self.place.identity_dir, "acme", now=self.now, ca_certificate=chain)
            transaction.commit()

    def put(self, *users: User) -> None:
        with Transaction() as transaction:
            users_set = UserSet({one.name: one for one in users})
            save(transaction, self.place.users_file, users_set, shown=("", ""))
            transaction.commit()

    @property
    def users(self) -> UserSet:
        return load_users(self.place.users_file)

    @property
    def own(self) -> Identity:
        return Identity(self.place.identity_dir, self.state)

    @property
    def signer(self) -> Signer:
        with Transaction() as transaction:
            authority = load_authority(transaction, self.place.identity_dir, "acme", self.now)
        assert authority is not None
        return Signer(authority, "acme", self.now)

    def renew(self, name: str, key: PublicKey, request: str) -> str:
        with Transaction() as transaction:
            chain = renewal.renew(transaction, self.place, "acme", name, key, request, now=self.now, last=Snapshot())
            transaction.commit()
        return chain

    def enrol(self, name: str, shown: Credentials) -> Enrolled:
        with Transaction() as transaction:
            made = renewal.enrol(transaction, self.place, "acme", name, shown, now=self.now, last=Snapshot())
            transaction.commit()
        return made

    def renew_own(self) -> Chain:
        with Transaction() as transaction:
            chain = renewal.renew_server(transaction, self.own, "acme", now=self.now)
            transaction.commit()
        return chain


ALICE, BOB, FRESH = samples.key(1), samples.key(2), samples.key(3)
