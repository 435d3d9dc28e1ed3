"""Certificates: what each kind says, and when one must be made anew.

A relay has one root. Each tenant has an intermediate that may sign names of its own domain only, which TLS itself
enforces. Leaves name their holder and serve for client authentication.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ExtendedKeyUsageOID

from tunnel_whisperer.pki.keys import TlsKey, TlsPublicKey, make_key

DOMAIN = "tw.internal"
ROOT_NAME = "Internal Services Root"
"""Shown to whoever asks the relay, so it tells nothing."""

ROOT_DAYS = 20 * 365
TENANT_DAYS = 10 * 365
LEAF_DAYS = 90
OPERATOR_DAYS = 3 * 365
"""The operator's way in must not close because nobody ran a playbook for a season."""

HALF_OVER = "half of its life is over"
"""Why a certificate that still serves is made anew."""

CLOCK_SKEW = timedelta(hours=1)
"""Certificates count from a little earlier, for clocks that are late."""


@dataclass(frozen=True, slots=True)
class Authority:
    """A key that signs, with its certificate and those behind it."""

    key: TlsKey
    chain: tuple[x509.Certificate, ...]

    @property
    def certificate(self) -> x509.Certificate:
        """The authority's own certificate."""
        return self.chain[0]


def server_name(tenant: str) -> str:
    """Return the name in the certificate of a tenant's server."""
    return f"server.{tenant}.{DOMAIN}"


def user_name(user: str, tenant: str) -> str:
    """Return the name in the certificate of a user."""
    return f"{user}.{tenant}.{DOMAIN}"


def operator_name(name: str) -> str:
    """Return the name in the certificate of one of the operator's identities."""
    return f"{name}.operator.{DOMAIN}"


def pem(*certificates: x509.Certificate) -> str:
    """Return certificates as PEM, one behind the other."""
    return "".join(certificate.public_bytes(serialization.Encoding.PEM).decode() for certificate in certificates)


def describe(*certificates: x509.Certificate) -> str:
    """Tell people what certificates say, a line for each."""
    lines = []
    for certificate in certificates:
        holder = ", ".join(_names(certificate)) or certificate.subject.rfc4514_string()
        until, serial = certificate.not_valid_after_utc, certificate.serial_number
        lines.append(f"certificate of {holder}, until {until:%Y-%m-%d}, serial number {serial:x}\n")
    return "".join(lines)


def read_certificates(text: object) -> tuple[x509.Certificate, ...]:
    """Read certificates in PEM form, at least one; raises ValueError."""
    if not isinstance(text, str):
        raise ValueError("is no text; certificates in PEM form are wanted")
    if "PRIVATE KEY" in text:
        raise ValueError("holds a private key; only certificates are wanted")
    try:
        return tuple(x509.load_pem_x509_certificates(text.encode()))
    except ValueError:
        raise ValueError("holds no certificates in PEM form") from None


def public_key(certificate: x509.Certificate) -> TlsPublicKey | None:
    """Return the key a certificate is for; None where it is of a kind we do not use."""
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, TlsPublicKey) else None


def make_root(now: datetime, key: TlsKey | None = None) -> Authority:
    """Make a relay's root, of this key or a new one."""
    key = key or make_key()
    name = _name(ROOT_NAME)
    builder = _builder(name, name, key.public_key(), now, timedelta(days=ROOT_DAYS))
    builder = _for_authority(builder, key.public_key(), path_length=1)
    return Authority(key, (builder.sign(key, hashes.SHA256()),))


def sign_tenant(root: Authority, key: TlsPublicKey, tenant: str, now: datetime) -> x509.Certificate:
    """Make a tenant's intermediate: it may sign leaves within the tenant's own domain."""
    subject = _name(f"Services CA {tenant}")
    builder = _builder(root.certificate.subject, subject, key, now, timedelta(days=TENANT_DAYS), root)
    builder = _for_authority(builder, key, path_length=0)
    builder = builder.add_extension(_constraints(tenant), critical=True)
    return _signed(builder, root)


def sign_leaf(
    authority: Authority, key: TlsPublicKey, name: str, now: datetime, *, days: float = LEAF_DAYS
) -> x509.Certificate:
    """Make the certificate by which the holder of `key` is known as `name` for `days`."""
    subject = _name(name.partition(".")[0])
    builder = _builder(authority.certificate.subject, subject, key, now, timedelta(days=days), authority)
    builder = (
        builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )
    return _signed(builder, authority)


def stale(
    certificate: x509.Certificate, issuer: x509.Certificate, key: TlsPublicKey, name: str | None, now: datetime
) -> str | None:
    """Say why a certificate must be made anew; None while it serves. Without `name` no name is looked for."""
    reason = None
    if public_key(certificate) != key:
        reason = "it is for another key"
    elif name is not None and _names(certificate) != [name]:
        reason = f"it is not for {name}"
    elif not _issued_by(certificate, issuer):
        reason = "it is of another authority"
    elif now < certificate.not_valid_before_utc:
        reason = "it is not valid yet"
    elif now >= certificate.not_valid_after_utc:
        reason = "it has expired"
    elif now - certificate.not_valid_before_utc >= _lifetime(certificate) / 2:
        reason = HALF_OVER
    return reason


def check_tenant_chain(text: str, key: TlsPublicKey, tenant: str, now: datetime) -> tuple[x509.Certificate, ...]:
    """Read a tenant's intermediate and root, and make sure that they serve `tenant` and `key`; raises ValueError."""
    chain = read_certificates(text)
    if len(chain) != 2:
        raise ValueError(f"holds {len(chain)} certificates; the intermediate and the root are wanted")
    intermediate, root = chain
    if intermediate.public_key() != key:
        raise ValueError("is for another key than this host's; sign the csr that this host returned")
    if not _issued_by(root, root):
        raise ValueError("does not end in a root")
    if not _issued_by(intermediate, root):
        raise ValueError("was not signed by the root that follows it")
    try:
        constraints = intermediate.extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        raise ValueError("is not held to any domain") from None
    if constraints != _constraints(tenant):
        raise ValueError(f"is not for tenant {tenant}")
    for certificate in chain:
        if not certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc:
            since, until = certificate.not_valid_before_utc, certificate.not_valid_after_utc
            raise ValueError(
                f"is valid from {since:%Y-%m-%d} to {until:%Y-%m-%d}, and this host's clock says {now:%Y-%m-%d}"
            )
    return chain


def _builder(
    issuer: x509.Name,
    subject: x509.Name,
    key: TlsPublicKey,
    now: datetime,
    life: timedelta,
    authority: Authority | None = None,
) -> x509.CertificateBuilder:
    start = (now - CLOCK_SKEW).replace(microsecond=0)
    end = start + CLOCK_SKEW + life
    if authority is not None:
        end = min(end, authority.certificate.not_valid_after_utc)
    return (
        x509.CertificateBuilder()
        .issuer_name(issuer)
        .subject_name(subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
    )


def _for_authority(builder: x509.CertificateBuilder, key: TlsPublicKey, *, path_length: int) -> x509.CertificateBuilder:
    return (
        builder.add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(_usage(authority=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _signed(builder: x509.CertificateBuilder, authority: Authority) -> x509.Certificate:
    issuer = authority.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    identifier = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer)
    return builder.add_extension(identifier, critical=False).sign(authority.key, hashes.SHA256())


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])


def _constraints(tenant: str) -> x509.NameConstraints:
    return x509.NameConstraints(permitted_subtrees=[x509.DNSName(f"{tenant}.{DOMAIN}")], excluded_subtrees=None)


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return names.get_values_for_type(x509.DNSName)


def _issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _lifetime(certificate: x509.Certificate) -> timedelta:
    return certificate.not_valid_after_utc - certificate.not_valid_before_utc
