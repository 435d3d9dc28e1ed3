"""Private keys and the requests they sign: TLS keys on P-256, SSH keys of type Ed25519."""

import base64
import hashlib
import os
import textwrap

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, padding, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

TlsKey = ec.EllipticCurvePrivateKey
TlsPublicKey = ec.EllipticCurvePublicKey

_SCRYPT_N, _SCRYPT_R, _SCRYPT_P = 1 << 14, 8, 8
"""Some 0.4 s a guess; a larger N would be refused by `openssl`, which gives scrypt 32 MiB at most."""

_OID_PBES2 = bytes.fromhex("06092a864886f70d01050d")
_OID_SCRYPT = bytes.fromhex("06092b06010401da47040b")
_OID_AES_256_CBC = bytes.fromhex("060960864801650304012a")


def make_key() -> TlsKey:
    """Make a private key for TLS."""
    return ec.generate_private_key(ec.SECP256R1())


def encode_key(key: TlsKey) -> bytes:
    """Return a private key as PEM, not encrypted."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def encrypt_key(key: TlsKey, passphrase: str) -> bytes:
    """Return a private key as encrypted PKCS#8 PEM: AES-256 behind scrypt, so that each guess costs dear."""
    plain = key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    salt, iv = os.urandom(16), os.urandom(16)
    secret = hashlib.scrypt(
        passphrase.encode(), salt=salt, n=_SCRYPT_N, r=_SCRYPT_R, p=_SCRYPT_P, maxmem=64 * 1024 * 1024, dklen=32
    )
    padder = padding.PKCS7(128).padder()
    encryptor = Cipher(algorithms.AES(secret), modes.CBC(iv)).encryptor()
    sealed = encryptor.update(padder.update(plain) + padder.finalize()) + encryptor.finalize()
    scrypt = _sequence(_OID_SCRYPT, _sequence(_octets(salt), *(_integer(n) for n in (_SCRYPT_N, _SCRYPT_R, _SCRYPT_P))))
    scheme = _sequence(_OID_PBES2, _sequence(scrypt, _sequence(_OID_AES_256_CBC, _octets(iv))))
    body = "\n".join(textwrap.wrap(base64.b64encode(_sequence(scheme, _octets(sealed))).decode(), 64))
    return f"-----BEGIN ENCRYPTED PRIVATE KEY-----\n{body}\n-----END ENCRYPTED PRIVATE KEY-----\n".encode()


def load_key(content: bytes, passphrase: str | None = None) -> TlsKey:
    """Read a private key on P-256; raises ValueError saying what is wrong."""
    try:
        key = serialization.load_pem_private_key(content, None if passphrase is None else passphrase.encode())
    except TypeError:
        asked = "is not encrypted" if passphrase else "is encrypted, and no passphrase is given"
        raise ValueError(asked) from None
    except (ValueError, UnsupportedAlgorithm):
        wrong = "is no private key" if passphrase is None else "is not opened by this passphrase"
        raise ValueError(wrong) from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError("is no private key on P-256")
    return key


def make_csr(key: TlsKey, common_name: str) -> bytes:
    """Return a request for a certificate as PEM: it proves that we hold the key; the signer chooses all else."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM)


def read_csr(text: object) -> TlsPublicKey:
    """Return the public key that a request proves possession of; all else it says is ignored. Raises ValueError."""
    if not isinstance(text, str):
        raise ValueError("is no text; a certificate request in PEM form is wanted")
    if "PRIVATE KEY" in text:
        raise ValueError("is a private key; a certificate request is wanted")
    try:
        request = x509.load_pem_x509_csr(text.encode())
        sound = request.is_signature_valid
        key = request.public_key()
    except (ValueError, UnsupportedAlgorithm, InvalidSignature):
        raise ValueError("is no certificate request in PEM form") from None
    if not sound:
        raise ValueError("is not signed by the key it names")
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError("is for a key of another kind; P-256 is accepted")
    return key


def make_ssh_key() -> bytes:
    """Make a private key for SSH, in OpenSSH's own format."""
    return ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )


def ssh_public_line(private: bytes, comment: str) -> str:
    """Return the line of the public key that belongs to a private SSH key; raises ValueError."""
    try:
        key = serialization.load_ssh_private_key(private, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("is no private SSH key, or an encrypted one") from None
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return f"{public.decode()} {comment}"


def _der(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def _sequence(*parts: bytes) -> bytes:
    return _der(0x30, b"".join(parts))


def _octets(content: bytes) -> bytes:
    return _der(0x04, content)


def _integer(number: int) -> bytes:
    return _der(0x02, number.to_bytes(number.bit_length() // 8 + 1, "big"))
