"""Keys and requests, judged by openssl and ssh-keygen."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tunnel_whisperer import pki

PASSPHRASE = "correct horse \u2014 battery"


def openssl(*words: str | Path, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["openssl", *words], input=given, capture_output=True, check=False)


def test_an_encrypted_key_opens_with_its_passphrase_only(tmp_path: Path) -> None:
    key = pki.make_key()
    sealed = pki.encrypt_key(key, PASSPHRASE)
    assert pki.load_key(sealed, PASSPHRASE).private_numbers() == key.private_numbers()
    secret = tmp_path / "passphrase"
    secret.write_text(PASSPHRASE)
    opened = openssl("pkey", "-passin", f"file:{secret}", given=sealed)
    assert pki.load_key(opened.stdout).private_numbers() == key.private_numbers()
    for wrong in ("correct horse", PASSPHRASE + " "):
        with pytest.raises(ValueError, match="is not opened by this passphrase"):
            pki.load_key(sealed, wrong)
    for none in (None, ""):
        with pytest.raises(ValueError, match="no passphrase is given"):
            pki.load_key(sealed, none)


def test_an_encrypted_key_is_sealed_by_scrypt() -> None:
    shown = openssl("asn1parse", given=pki.encrypt_key(pki.make_key(), PASSPHRASE)).stdout.decode()
    assert "scrypt" in shown
    assert "aes-256-cbc" in shown


def test_two_seals_of_one_key_differ() -> None:
    key = pki.make_key()
    assert pki.encrypt_key(key, PASSPHRASE) != pki.encrypt_key(key, PASSPHRASE)


def pem_of(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def test_only_keys_on_p256_are_read() -> None:
    for other in (ec.generate_private_key(ec.SECP384R1()), ed25519.Ed25519PrivateKey.generate()):
        with pytest.raises(ValueError, match="is no private key on P-256"):
            pki.load_key(pem_of(other))
    for damaged in (b"", b"x", pki.encode_key(pki.make_key())[:60]):
        with pytest.raises(ValueError, match="is no private key"):
            pki.load_key(damaged)
    with pytest.raises(ValueError, match="is not encrypted"):
        pki.load_key(pki.encode_key(pki.make_key()), PASSPHRASE)


def test_a_request_proves_possession() -> None:
    key = pki.make_key()
    request = pki.make_csr(key, "alice")
    assert openssl("req", "-verify", "-noout", given=request).returncode == 0
    assert pki.read_csr(request.decode()) == key.public_key()


def csr_of(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> str:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


def stolen_csr() -> str:
    """A request that names the key of somebody else, which the asker does not hold."""
    key, other = pki.make_key(), pki.make_key()
    point = [made.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint) for made in (key, other)]
    der = x509.load_pem_x509_csr(pki.make_csr(key, "alice")).public_bytes(Encoding.DER)
    return x509.load_der_x509_csr(der.replace(point[0], point[1])).public_bytes(Encoding.PEM).decode()


def test_what_is_no_sound_request_is_refused() -> None:
    cases = {
        "": "no certificate request",
        "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n": "no certificate request",
        pki.encode_key(pki.make_key()).decode(): "is a private key",
        stolen_csr(): "not signed by the key it names",
        csr_of(ec.generate_private_key(ec.SECP384R1())): "of another kind",
        csr_of(rsa.generate_private_key(65537, 2048)): "of another kind",
    }
    for text, reason in cases.items():
        with pytest.raises(ValueError, match=reason):
            pki.read_csr(text)
    with pytest.raises(ValueError, match="is no text"):
        pki.read_csr(None)


def test_an_ssh_key_is_one_for_openssh(tmp_path: Path) -> None:
    private = pki.make_ssh_key()
    file = tmp_path / "id_ed25519"
    file.write_bytes(private)
    file.chmod(0o600)
    shown = subprocess.run(["ssh-keygen", "-yf", file], capture_output=True, text=True, check=True).stdout.strip()
    assert pki.ssh_public_line(private, "alice@acme") == f"{shown} alice@acme"
    for damaged in (b"", b"x", private[:100], pki.encode_key(pki.make_key())):
        with pytest.raises(ValueError, match="is no private SSH key"):
            pki.ssh_public_line(damaged, "alice@acme")
