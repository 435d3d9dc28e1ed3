"""The contexts of a client host: keys that never leave it, and, once its user is admitted, all it connects with."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import MappingProxyType

import yaml
from cryptography import x509

from tunnel_whisperer import config, identity, pki
from tunnel_whisperer.errors import ConfigError
from tunnel_whisperer.files import KEEP_OWNER, Owner, Transaction
from tunnel_whisperer.places import CONFIG_FILE
from tunnel_whisperer.problems import Problems, below, quote
from tunnel_whisperer.provision.identities import DAEMON_MODE, OWNER_MODE, IdentityFiles, read_uuid
from tunnel_whisperer.users.grants import ORIGIN_INVENTORY
from tunnel_whisperer.users.inventory import RESERVED_CONTEXTS

ORIGIN_FILE = "origin"
"""Says who made a context; a purge removes only contexts of its own origin."""

ORIGIN_BUNDLE = "bundle"
"""Contexts that `tw import` made."""

_WRITERS = {
    ORIGIN_INVENTORY: "Ansible (tunnel_whisperer.tw.contexts); the next run",
    ORIGIN_BUNDLE: "tw import; an import with --replace",
}
_FINAL_KEYS = ("uuid", "certificate", "relay", "server_host_keys", "bridges")
_KEYS = ("tenant", "user", *_FINAL_KEYS)
_RELAY_KEYS = ("host", "port", "profile", "links", "roots")


@dataclass(frozen=True, slots=True)
class Access:
    """Who may read a context's files."""

    directory: int
    private: int
    owner: Owner = KEEP_OWNER


FOR_DAEMON = Access(0o750, DAEMON_MODE)
"""Root writes them, and the group of the daemon reads them."""

FOR_OWNER = Access(0o700, OWNER_MODE)
"""Nobody but their owner reads them."""


@dataclass(frozen=True, slots=True)
class PrivateKeys:
    """Keys that were made elsewhere, as PEM."""

    ssh: bytes = field(repr=False)
    tls: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ContextResult:
    """What others need of a context, and whether anything of it changes."""

    ssh_public_key: str
    csr: str
    changed: bool
    ready: bool
    """Whether it has all it connects with, now or from an earlier run."""


@dataclass(frozen=True, slots=True)
class ContextsOutcome:
    """Every context by name, those that were removed because nobody wants them, and those that others made."""

    contexts: Mapping[str, ContextResult]
    purged: tuple[str, ...]
    others: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Wanted:
    name: str
    tenant: str
    user: str
    given: Mapping[object, object]

    @property
    def final(self) -> bool:
        return self.given.get("certificate") is not None

    @property
    def where(self) -> str:
        return below("contexts", self.name)


def provision_contexts(
    transaction: Transaction,
    directory: Path,
    given: object,
    *,
    now: datetime,
    origin: str,
    access: Access = FOR_DAEMON,
    xray: Path = config.DEFAULT_XRAY,
    keys: Mapping[str, PrivateKeys] = MappingProxyType({}),
    replace: bool = True,
    purge: bool = False,
) -> ContextsOutcome:
    """Have these contexts below `directory`.

    A context without `certificate` only gets its keys, those in `keys` or new ones; what an earlier run installed
    stays. One that is there already is refused without `replace`, and one of another origin always. Raises ConfigError
    (InvalidInputError for what is wrong with the contexts).
    """
    problems = Problems()
    wanted = _read(problems, given)
    problems.check()
    transaction.folders(directory, mode=access.directory, owner=access.owner)
    results: dict[str, ContextResult] = {}
    for context in wanted:
        home = directory / context.name
        transaction.whole(home)
        _check_free(transaction, home, origin, problems, context, replace=replace)
        transaction.directory(home, mode=access.directory, owner=access.owner)
        files = IdentityFiles(transaction, home, access.owner, access.private)
        files.public(ORIGIN_FILE, f"{origin}\n")
        given_keys = keys.get(context.name)
        comment = f"{context.user}@{context.tenant}"
        public_key = files.ssh_key(identity.SSH_KEY, comment, given_keys.ssh if given_keys else None)
        key = files.tls_key(given=given_keys.tls if given_keys else None)
        if context.final:
            _install(files, context, key, problems, now, xray, origin)
        results[context.name] = ContextResult(
            ssh_public_key=public_key,
            csr=pki.make_csr(key, context.user).decode(),
            changed=any(change.path == home or home in change.path.parents for change in transaction.changes),
            ready=context.final or files.text(CONFIG_FILE) is not None,
        )
    problems.check()
    found = {name: read_origin(transaction, directory / name) for name in transaction.folder_names(directory)}
    unwanted = tuple(name for name, its in found.items() if purge and name not in results and its == origin)
    for name in unwanted:
        transaction.remove(directory / name)
    return ContextsOutcome(results, unwanted, tuple(name for name, its in found.items() if its != origin))


def read_origin(transaction: Transaction, home: Path) -> str:
    """Return who made the context in `home`."""
    found = transaction.read(home / ORIGIN_FILE)
    return "unknown" if found is None else found.decode("utf-8", "replace").strip()


def _read(problems: Problems, given: object) -> list[_Wanted]:
    wanted = []
    for given_name, fields in problems.mapping(given, "contexts").items():
        where = below("contexts", given_name)
        name = problems.name("context", given_name, where)
        if name in RESERVED_CONTEXTS:
            problems.add(where, "is reserved; give the context another name")
        found = problems.mapping(fields, where, _KEYS)
        tenant = problems.name("tenant", found.get("tenant"), f"{where}.tenant")
        user = problems.name("user", found.get("user"), f"{where}.user")
        if name is None or tenant is None or user is None:
            continue
        context = _Wanted(name, tenant, user, found)
        if context.final:
            for key in _FINAL_KEYS:
                if not found.get(key):
                    problems.add(f"{where}.{key}", "is missing; it goes with certificate")
        wanted.append(context)
    return wanted


def _check_free(
    transaction: Transaction, home: Path, origin: str, problems: Problems, context: _Wanted, *, replace: bool
) -> None:
    """Refuse to write into a context that somebody else made, or that is to stay as it is."""
    if not transaction.names(home):
        return
    made_by = read_origin(transaction, home)
    if made_by != origin:
        problems.add(context.where, f"{home} is of origin {quote(made_by)}; remove it, or name this context otherwise")
    elif not replace:
        problems.add(context.where, f"{home} is there already; replace it, or name this context otherwise")


def _install(
    files: IdentityFiles, context: _Wanted, key: pki.TlsKey, problems: Problems, now: datetime, xray: Path, origin: str
) -> None:
    chain = problems.read(pki.read_certificates, context.given["certificate"], f"{context.where}.certificate")
    if chain:
        reason = _unfit(chain[0], chain[-1], key, context, now)
        if reason:
            problems.add(f"{context.where}.certificate", reason)
        files.certify(identity.TLS_CHAIN, *chain)
    uuid = problems.read(read_uuid, context.given["uuid"], f"{context.where}.uuid")
    if uuid:
        files.uuid(uuid)
    relay = problems.mapping(context.given["relay"], f"{context.where}.relay", _RELAY_KEYS)
    settings = {key: relay[key] for key in ("host", "port", "profile", "links") if relay.get(key) is not None}
    if relay.get("roots"):
        roots = problems.read(pki.read_certificates, relay["roots"], f"{context.where}.relay.roots")
        files.certify(identity.RELAY_ROOTS, *roots or ())
        settings["roots_file"] = str(files.directory / identity.RELAY_ROOTS)
    else:
        files.transaction.remove(files.directory / identity.RELAY_ROOTS)
    header = f"# Written by {_WRITERS[origin]} overwrites what is changed here.\n"
    text = header + _configuration(files.directory, context, settings, xray)
    _check_configuration(text, context, problems)
    files.transaction.write(files.directory / CONFIG_FILE, text.encode(), mode=files.private_mode, owner=files.owner)


def _unfit(
    leaf: x509.Certificate, issuer: x509.Certificate, key: pki.TlsKey, context: _Wanted, now: datetime
) -> str | None:
    """Say why a certificate cannot be installed; that half of its life is over is no reason here."""
    name = pki.user_name(context.user, context.tenant)
    reason = pki.stale(leaf, issuer, key.public_key(), name, now)
    return None if reason is None or reason == pki.HALF_OVER else reason


def _configuration(directory: Path, context: _Wanted, relay: Mapping[str, object], xray: Path) -> str:
    document = {
        "context": context.name,
        "tenant": context.tenant,
        "user": context.user,
        "relay": dict(relay),
        "server_host_keys": context.given["server_host_keys"],
        "identity_dir": str(directory),
        "bridges": context.given["bridges"],
        "xray": str(xray),
    }
    return yaml.safe_dump(document, sort_keys=False, width=1000)


def _check_configuration(text: str, context: _Wanted, problems: Problems) -> None:
    """Let the agent itself read the file before it lands."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / CONFIG_FILE
        path.write_text(text, encoding="utf-8")
        try:
            config.load_connect(path)
        except ConfigError as error:
            problems.add(context.where, error.message)
