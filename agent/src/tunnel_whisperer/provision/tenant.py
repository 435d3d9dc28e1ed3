"""A tenant's identity on its server: its authority, its TLS leaf, its SSH keys, its UUID."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509

from tunnel_whisperer import identity, names, pki
from tunnel_whisperer.errors import ConfigError
from tunnel_whisperer.files import KEEP_OWNER, Owner, Transaction
from tunnel_whisperer.provision.identities import IdentityFiles

DIRECTORY_MODE = 0o750


@dataclass(frozen=True, slots=True)
class TenantIdentity:
    """What others need to know of a tenant's server; `uuid` is a secret."""

    csr: str
    ssh_public_key: str
    host_public_key: str
    uuid: str
    certified: bool
    """Whether the relay's operator has signed this tenant's authority."""


def provision_tenant(
    transaction: Transaction,
    directory: Path,
    tenant: str,
    *,
    now: datetime,
    ca_certificate: str | None = None,
    owner: Owner = KEEP_OWNER,
) -> TenantIdentity:
    """Have a tenant's identity in `directory`; `ca_certificate` is its intermediate with the root behind it.

    Without `ca_certificate` what was installed before stays. Raises ConfigError.
    """
    if fault := names.tenant_fault(tenant):
        raise ConfigError(fault, where="tenant")
    transaction.directory(directory, mode=DIRECTORY_MODE, owner=owner)
    files = IdentityFiles(transaction, directory, owner)
    ca_key = files.tls_key(identity.CA_KEY)
    chain = _install(files, ca_key, tenant, ca_certificate, now)
    tls_key = files.tls_key()
    if chain:
        _certify(files, pki.Authority(ca_key, chain), tls_key, tenant, now)
    return TenantIdentity(
        csr=pki.make_csr(ca_key, tenant).decode(),
        ssh_public_key=files.ssh_key(identity.SSH_KEY, f"server@{tenant}"),
        host_public_key=files.ssh_key(identity.SSH_HOST_KEY, f"host@{tenant}"),
        uuid=files.uuid(),
        certified=bool(chain),
    )


def load_authority(transaction: Transaction, directory: Path, tenant: str, now: datetime) -> pki.Authority | None:
    """Return the authority in a tenant's identity directory, None while the operator has not signed it."""
    key, chain = transaction.read(directory / identity.CA_KEY), transaction.read(directory / identity.CA_CHAIN)
    if key is None or chain is None:
        return None
    place = directory / identity.CA_KEY
    try:
        private = pki.load_key(key)
        place = directory / identity.CA_CHAIN
        return pki.Authority(
            private, pki.check_tenant_chain(chain.decode("utf-8", "replace"), private.public_key(), tenant, now)
        )
    except ValueError as error:
        raise ConfigError(str(error), where=str(place)) from None


def _install(
    files: IdentityFiles, key: pki.TlsKey, tenant: str, given: str | None, now: datetime
) -> tuple[x509.Certificate, ...]:
    if given is not None:
        try:
            chain = pki.check_tenant_chain(given, key.public_key(), tenant, now)
        except ValueError as error:
            raise ConfigError(str(error), where="ca_certificate") from None
        files.certify(identity.CA_CHAIN, *chain)
        return chain
    try:
        return pki.check_tenant_chain(files.text(identity.CA_CHAIN) or "", key.public_key(), tenant, now)
    except ValueError:
        return ()


def _certify(files: IdentityFiles, authority: pki.Authority, key: pki.TlsKey, tenant: str, now: datetime) -> None:
    name = pki.server_name(tenant)
    found = files.certificates(identity.TLS_CHAIN)
    leaf = found[0] if found else None
    if leaf is None or pki.stale(leaf, authority.certificate, key.public_key(), name, now):
        leaf = pki.sign_leaf(authority, key.public_key(), name, now)
    files.certify(identity.TLS_CHAIN, leaf, authority.certificate)
