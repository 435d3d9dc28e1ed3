"""Public keys for the tests: real ones, made once, and strategies for random ones that are sound by structure."""

from __future__ import annotations

import base64
from functools import cache

from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import strategies as st

from tunnel_whisperer.users.keys import PublicKey, read_public_key
from tunnel_whisperer.users.targets import Target

LABELS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,14}[a-z0-9])?", fullmatch=True)
PORTS = st.integers(1, 65535)
HOSTS = st.one_of(
    st.just("127.0.0.1"),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(str),
    st.from_regex(r"[a-z]{1,8}(\.[a-z]{2,5})?", fullmatch=True),
)
TARGETS = st.builds(Target, HOSTS, PORTS)


def ssh_string(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def ssh_number(number: int) -> bytes:
    return ssh_string(number.to_bytes(number.bit_length() // 8 + 1, "big"))


def line(kind: str, *parts: bytes) -> str:
    return f"{kind} {base64.b64encode(ssh_string(kind.encode()) + b''.join(parts)).decode()}"


def ed25519_line(raw: bytes) -> str:
    return line("ssh-ed25519", ssh_string(raw))


ED25519_LINES = st.binary(min_size=32, max_size=32).map(ed25519_line)


def key(number: int = 1) -> PublicKey:
    return read_public_key(ed25519_line(number.to_bytes(32, "big")))


@cache
def real_lines() -> dict[str, str]:
    """One real public key of every kind that can be made here, by kind."""
    private = {
        "ssh-ed25519": ed25519.Ed25519PrivateKey.generate(),
        "ecdsa-sha2-nistp256": ec.generate_private_key(ec.SECP256R1()),
        "ecdsa-sha2-nistp384": ec.generate_private_key(ec.SECP384R1()),
        "ecdsa-sha2-nistp521": ec.generate_private_key(ec.SECP521R1()),
        "ssh-rsa": rsa.generate_private_key(65537, 2048),
    }
    lines = {
        kind: made.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
        for kind, made in private.items()
    }
    point = private["ecdsa-sha2-nistp256"].public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    raw = private["ssh-ed25519"].public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    application = ssh_string(b"ssh:")
    lines["sk-ssh-ed25519@openssh.com"] = line("sk-ssh-ed25519@openssh.com", ssh_string(raw), application)
    lines["sk-ecdsa-sha2-nistp256@openssh.com"] = line(
        "sk-ecdsa-sha2-nistp256@openssh.com", ssh_string(b"nistp256"), ssh_string(point), application
    )
    return lines


@cache
def weak_rsa_line() -> str:
    return (
        rsa.generate_private_key(65537, 1024).public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    )


@cache
def private_text() -> str:
    return (
        ed25519.Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
    )


@cache
def dsa_line() -> str:
    numbers = dsa.generate_private_key(1024).public_key().public_numbers()
    group = numbers.parameter_numbers
    return line("ssh-dss", *(ssh_number(number) for number in (group.p, group.q, group.g, numbers.y)))
