"""Looking at the relay from outside, with certificates of one's own making."""

from __future__ import annotations

import datetime
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.e2e.bridges import inventory_vars
from tests.lab.api import Lab

VISITOR = Path(__file__).with_name("visitor.py")


@dataclass(frozen=True)
class Identity:
    """Files with a chain and its key."""

    chain: Path
    key: Path


def relay_name(lab: Lab) -> str:
    """Return the first relay's public name, as the inventory has it."""
    hosts = lab.control(["ansible-inventory", "--host", "relay1"]).stdout
    return str(json.loads(hosts)["relay_name"])


def visit(lab: Lab, path: str, *options: str, identity: Identity | None = None) -> dict[str, Any]:
    """Visit the relay from the public network; see visitor.py for what is said of it."""
    words = [sys.executable, str(VISITOR), relay_name(lab), path, *options]
    if "--plain" not in options:
        words += ["--root", str(inventory_vars(lab)["relay_tls_root"])]
    if identity is not None:
        words += ["--identity", str(identity.chain), str(identity.key)]
    found: dict[str, Any] = json.loads(lab.ns_run("outside", words).stdout)
    return found


def tenants_own(lab: Lab, folder: Path) -> Identity:
    """Take the identity that the first tenant's server shows to the relay."""
    chain, key = folder / "own.crt", folder / "own.key"
    chain.write_text(lab.run("server", ["cat", "/etc/tw/serve/tls.crt"]).stdout)
    key.write_text(lab.run("server", ["cat", "/etc/tw/serve/tls.key"]).stdout)
    return Identity(chain, key)


def signed_by_tenant(lab: Lab, folder: Path, name: str) -> Identity:
    """Have the first tenant's own authority sign a certificate for any name, as a tenant can at home."""
    authority = x509.load_pem_x509_certificate(lab.run("server", ["cat", "/etc/tw/serve/ca.crt"]).stdout.encode())
    key = serialization.load_pem_private_key(lab.run("server", ["cat", "/etc/tw/serve/ca.key"]).stdout.encode(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    intermediate = authority.public_bytes(serialization.Encoding.PEM)
    return _leaf(folder, name, authority.subject, key, intermediate)


def foreign(folder: Path, name: str) -> Identity:
    """Make a certificate that nobody signed but its maker."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Foreign CA")])
    return _leaf(folder, name, subject, ec.generate_private_key(ec.SECP256R1()), b"")


def _leaf(folder: Path, name: str, issuer: x509.Name, signer: ec.EllipticCurvePrivateKey, rest: bytes) -> Identity:
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "client")]))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(signer, hashes.SHA256())
    )
    made = Identity(folder / "made.crt", folder / "made.key")
    made.chain.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + rest)
    made.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return made
