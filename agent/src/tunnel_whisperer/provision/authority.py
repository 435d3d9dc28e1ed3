"""The authority of a relay, on the control node: its root, the operator's identities, the tenants' intermediates."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tunnel_whisperer import identity, pki
from tunnel_whisperer.errors import ConfigError
from tunnel_whisperer.files import Transaction
from tunnel_whisperer.problems import Problems, below
from tunnel_whisperer.provision.identities import OWNER_MODE, IdentityFiles
from tunnel_whisperer.users.targets import read_host

DIRECTORY_MODE = 0o700
ROOT_KEY = "root.key"
ROOT_CERTIFICATE = "root.crt"
SHORTEST_PASSPHRASE = 8


@dataclass(frozen=True, slots=True)
class AuthorityState:
    """What others need of a relay's authority: PEM texts, and the operator's UUIDs, which are secrets."""

    root_certificate: str
    tenants: Mapping[str, str | None]
    """The intermediate of each tenant with the root behind it; None for one that has not asked yet."""
    operators: Mapping[str, str]


def provision_authority(
    transaction: Transaction,
    directory: Path,
    relay_name: str,
    passphrase: str,
    *,
    now: datetime,
    tenants: object = None,
    operators: Iterable[str] = (),
) -> AuthorityState:
    """Have the authority of a relay below `directory`; `tenants` maps names to `{csr: PEM}`. Raises ConfigError."""
    try:
        read_host(relay_name)
    except ValueError as error:
        raise ConfigError(str(error), where="relay_name") from None
    if len(passphrase) < SHORTEST_PASSPHRASE:
        raise ConfigError(f"has less than {SHORTEST_PASSPHRASE} characters", where="passphrase")
    requests, chosen = _read(tenants, operators)
    home = directory / "relays" / relay_name
    transaction.folders(home.parent, mode=DIRECTORY_MODE)
    transaction.directory(home, mode=DIRECTORY_MODE)
    root = _root(IdentityFiles(transaction, home, private_mode=OWNER_MODE), passphrase, now)
    return AuthorityState(
        root_certificate=pki.pem(root.certificate),
        tenants=_tenants(transaction, home / "tenants", root, requests, now),
        operators=_operators(transaction, home / "operators", root, chosen, now),
    )


def _read(tenants: object, operators: Iterable[str]) -> tuple[dict[str, pki.TlsPublicKey | None], list[str]]:
    problems = Problems()
    requests: dict[str, pki.TlsPublicKey | None] = {}
    for given, fields in problems.mapping(tenants, "tenants").items():
        where = below("tenants", given)
        name = problems.name("tenant", given, where)
        csr = problems.mapping(fields, where, ("csr",)).get("csr")
        key = None if csr is None else problems.read(pki.read_csr, csr, f"{where}.csr")
        if name is not None:
            requests[name] = key
    chosen = [problems.name("operator", name, f"operators[{index}]") for index, name in enumerate(operators)]
    problems.check()
    return requests, [name for name in chosen if name is not None]


def _root(files: IdentityFiles, passphrase: str, now: datetime) -> pki.Authority:
    sealed, certificate = files.transaction.read(files.directory / ROOT_KEY), files.text(ROOT_CERTIFICATE)
    if sealed is None and certificate is None:
        root = pki.make_root(now)
        sealed = pki.encrypt_key(root.key, passphrase)
    elif sealed is not None and certificate is None and not _signed(files):  # the first run was killed halfway
        root = pki.make_root(now, _open_key(files.directory, sealed, passphrase))
    elif sealed is None or certificate is None:
        missing = ROOT_KEY if sealed is None else ROOT_CERTIFICATE
        raise ConfigError("is missing", where=str(files.directory / missing), hint="put it back from a backup")
    else:
        root = _open_root(files.directory, sealed, certificate, passphrase)
    files.private(ROOT_KEY, sealed)
    files.certify(ROOT_CERTIFICATE, root.certificate)
    return root


def _signed(files: IdentityFiles) -> bool:
    """Say whether the root has signed anything yet."""
    transaction, operators = files.transaction, files.directory / "operators"
    certificates = [operators / name / identity.TLS_CHAIN for name in transaction.names(operators)]
    return bool(transaction.names(files.directory / "tenants")) or any(map(transaction.read, certificates))


def _open_key(directory: Path, sealed: bytes, passphrase: str) -> pki.TlsKey:
    try:
        return pki.load_key(sealed, passphrase)
    except ValueError as error:
        raise ConfigError(str(error), where=str(directory / ROOT_KEY)) from None


def _open_root(directory: Path, sealed: bytes, certificate: str, passphrase: str) -> pki.Authority:
    key, place = _open_key(directory, sealed, passphrase), str(directory / ROOT_CERTIFICATE)
    try:
        found = pki.read_certificates(certificate)[:1]
    except ValueError as error:
        raise ConfigError(str(error), where=place) from None
    if found[0].public_key() != key.public_key():
        raise ConfigError(f"is not for the key in {ROOT_KEY}", where=place, hint="put both back from one backup")
    return pki.Authority(key, found)


def _tenants(
    transaction: Transaction,
    directory: Path,
    root: pki.Authority,
    requests: Mapping[str, pki.TlsPublicKey | None],
    now: datetime,
) -> dict[str, str | None]:
    transaction.directory(directory, mode=DIRECTORY_MODE)
    files = IdentityFiles(transaction, directory, private_mode=OWNER_MODE)
    signed: dict[str, str | None] = {}
    for tenant, asked in requests.items():
        file = f"{tenant}.crt"
        found = files.certificates(file)
        key = asked or (pki.public_key(found[0]) if found else None)
        if key is None:
            signed[tenant] = None
            continue
        intermediate = found[0] if found else None
        if intermediate is None or pki.stale(intermediate, root.certificate, key, None, now):
            intermediate = pki.sign_tenant(root, key, tenant, now)
        files.certify(file, intermediate, root.certificate)
        signed[tenant] = pki.pem(intermediate, root.certificate)
    return signed


def _operators(
    transaction: Transaction, directory: Path, root: pki.Authority, names: Iterable[str], now: datetime
) -> dict[str, str]:
    transaction.directory(directory, mode=DIRECTORY_MODE)
    uuids = {}
    for name in names:
        transaction.directory(directory / name, mode=DIRECTORY_MODE)
        files = IdentityFiles(transaction, directory / name, private_mode=OWNER_MODE)
        key = files.tls_key()
        found = files.certificates(identity.TLS_CHAIN)
        leaf, host = (found[0] if found else None), pki.operator_name(name)
        if leaf is None or pki.stale(leaf, root.certificate, key.public_key(), host, now):
            leaf = pki.sign_leaf(root, key.public_key(), host, now, days=pki.OPERATOR_DAYS)
        files.certify(identity.TLS_CHAIN, leaf)
        uuids[name] = files.uuid()
    return uuids
