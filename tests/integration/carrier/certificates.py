"""Certificates of the shape the product makes: one root, an intermediate for each tenant, leaves below."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


@dataclass(frozen=True)
class Issued:
    """A key and its certificate with those behind it, leaf first."""

    key: ec.EllipticCurvePrivateKey
    chain: tuple[x509.Certificate, ...]

    def write(self, certificate: Path, key: Path) -> None:
        certificate.write_bytes(b"".join(each.public_bytes(serialization.Encoding.PEM) for each in self.chain))
        key.touch(mode=0o600)
        key.write_bytes(
            self.key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )


def authority(name: str, *, signer: Issued | None = None, permitted: str | None = None) -> Issued:
    """Make a certificate authority; below `signer` where given, and then for names under `permitted` only."""
    extensions: list[tuple[x509.ExtensionType, bool]] = [
        (x509.BasicConstraints(ca=True, path_length=0 if signer else 1), True),
        (_usage(sign=True), True),
    ]
    if permitted:
        extensions.append((x509.NameConstraints([x509.DNSName(permitted)], None), True))
    return _issue(name, extensions, signer, days=400)


def leaf(*names: str, signer: Issued, server: bool = False, days: int = 90, backdated: int = 1) -> Issued:
    """Make a certificate for `names` of a TLS client, or `server`; valid for `days` from `backdated` days ago."""
    purpose = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
    extensions: list[tuple[x509.ExtensionType, bool]] = [
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), False),
        (x509.ExtendedKeyUsage([purpose]), False),
        (_usage(sign=False), True),
    ]
    return _issue(names[0], extensions, signer, days=days, backdated=backdated)


def _issue(
    name: str,
    extensions: list[tuple[x509.ExtensionType, bool]],
    signer: Issued | None,
    *,
    days: int,
    backdated: int = 1,
) -> Issued:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    begin = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=backdated)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(signer.chain[0].subject if signer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + datetime.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    signing_key = signer.key if signer else key
    builder = builder.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(signing_key.public_key()), critical=False
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    certificate = builder.sign(signing_key, hashes.SHA256())
    behind = tuple(each for each in signer.chain if each.issuer != each.subject) if signer else ()
    return Issued(key, (certificate, *behind))


def _usage(*, sign: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign,
        key_cert_sign=sign,
        crl_sign=sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
