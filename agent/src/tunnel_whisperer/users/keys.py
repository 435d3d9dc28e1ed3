"""SSH public keys, checked by their structure. Standard library only: the collection uses it on the controller too."""

import base64
import binascii
import hashlib
from dataclasses import dataclass

_NIST = {"nistp256": 65, "nistp384": 97, "nistp521": 133}
"""Length of an uncompressed point on each curve."""

_ED25519 = 32
_RSA_BITS = range(2048, 16385)
_LONGEST = 4096
"""Characters of the longest line looked at; a key of RSA with 16384 bits has some 2800."""

ACCEPTED = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "ssh-rsa",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
)
"""Types of public keys a user may have; RSA with 2048 bits or more."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key that was found sound; `str()` gives its type and base64, without a comment."""

    type: str
    blob: bytes

    def __str__(self) -> str:
        return f"{self.type} {base64.b64encode(self.blob).decode()}"

    @property
    def fingerprint(self) -> str:
        """As `ssh-keygen -l` prints it."""
        return "SHA256:" + base64.b64encode(hashlib.sha256(self.blob).digest()).decode().rstrip("=")


def read_public_key(text: object) -> PublicKey:
    """Read one line of OpenSSH's public key format; its comment is dropped. Raises ValueError saying what is wrong."""
    if not isinstance(text, str):
        raise ValueError("is no text; a public key such as 'ssh-ed25519 AAAA...' is wanted")
    line = text.strip(" \t\r\n")
    if "PRIVATE KEY" in line:
        raise ValueError("is a private key; give the public one (the file that ends in .pub) and make a new pair")
    if "\n" in line or "\r" in line:
        raise ValueError("has several lines; one public key is wanted")
    if len(line) > _LONGEST:
        raise ValueError(f"has {len(line)} characters; no public key is that long")
    if not line.isascii() or not line.isprintable():
        raise ValueError("holds characters that no public key has")
    words = line.split()
    if not words:
        raise ValueError("is empty")
    _check_type(words)
    if len(words) < 2:
        raise ValueError(f"ends after its type {words[0]}")
    if any(word in ACCEPTED for word in words[2:]):
        raise ValueError("holds two keys; one is wanted")
    try:
        blob = base64.b64decode(words[1], validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("is damaged: the word after its type is no base64") from None
    _check_blob(words[0], blob)
    return PublicKey(words[0], blob)


def _check_type(words: list[str]) -> None:
    kind = words[0]
    if kind in ACCEPTED:
        return
    if kind == "ssh-dss":
        raise ValueError("is a DSA key, which is broken; make a new one with ssh-keygen -t ed25519")
    if "-cert-v01@" in kind:
        raise ValueError("is a certificate; a plain public key is wanted")
    if any(word in ACCEPTED for word in words[1:]) or "=" in kind:
        raise ValueError("begins with options; give the key alone, what it permits is derived from apps and ports")
    shown = kind if len(kind) <= 40 else f"{kind[:37]}..."
    raise ValueError(f"is of type '{shown}'; accepted: {', '.join(ACCEPTED)}")


def _check_blob(kind: str, blob: bytes) -> None:
    reader = _Reader(blob)
    if reader.string() != kind.encode():
        raise ValueError(f"is damaged: it says {kind}, but its data is of another type")
    if kind == "ssh-rsa":
        _check_rsa(reader)
    elif "ed25519" in kind:
        if len(reader.string()) != _ED25519:
            raise ValueError("is damaged: an Ed25519 key has 32 bytes")
    else:
        curve = "nistp256" if kind.startswith("sk-") else kind.rpartition("-")[2]
        if reader.string() != curve.encode():
            raise ValueError("is damaged: its curve is not the one its type names")
        point = reader.string()
        if len(point) != _NIST[curve] or point[0] != 4:
            raise ValueError(f"is damaged: it holds no point of {curve}")
    if kind.startswith("sk-") and not reader.string():
        raise ValueError("is damaged: a security key names its application")
    if reader.left:
        raise ValueError("is damaged: data follows the key")


def _check_rsa(reader: "_Reader") -> None:
    exponent, modulus = reader.number(), reader.number()
    if modulus.bit_length() not in _RSA_BITS:
        bits = f"{_RSA_BITS[0]} to {_RSA_BITS[-1]}"
        raise ValueError(f"is an RSA key of {modulus.bit_length()} bits; accepted: {bits}, or better ssh-ed25519")
    if exponent < 3 or exponent % 2 == 0 or modulus % 2 == 0:
        raise ValueError("is damaged: these are no numbers of an RSA key")


class _Reader:
    """Takes the parts of a key's data one after the other."""

    def __init__(self, data: bytes) -> None:
        self.left = data

    def string(self) -> bytes:
        length = int.from_bytes(self.left[:4], "big")
        if len(self.left) < 4 + length:
            raise ValueError("is cut short")
        value, self.left = self.left[4 : 4 + length], self.left[4 + length :]
        return value

    def number(self) -> int:
        data = self.string()
        if not data or data[0] & 0x80 or (len(data) > 1 and data[0] == 0 and not data[1] & 0x80):
            raise ValueError("is damaged: it holds a number in a form that is not allowed")
        return int.from_bytes(data, "big")
