"""Bundles for the tests: sound ones, and files of the age format that cost no time."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import pyrage
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tests.unit.agent.users import samples
from tunnel_whisperer import pki
from tunnel_whisperer.bundle import Bundle, Relay, seal
from tunnel_whisperer.config import Bridge

TENANT = "acme"
UUID = "5783a3e7-e373-51cd-8642-c83782b807c5"
POSTGRES = Bridge(name="postgres", host="127.0.0.1", port=5432, local_port=5432)
WEB = Bridge(name="web-8080", host="127.0.0.1", port=8080, local_port=8080)
PASSPHRASE = "correct horse battery"


@cache
def authority() -> pki.Authority:
    """The intermediate of the tenant with its root behind it."""
    now = datetime.now(UTC)
    root = pki.make_root(now)
    key = pki.make_key()
    return pki.Authority(key, (pki.sign_tenant(root, key.public_key(), TENANT, now), root.certificate))


def chain(key: pki.TlsPublicKey, user: str = "alice", *, at: datetime | None = None) -> str:
    """What the server gives a user whose key this is."""
    signer = authority()
    return pki.pem(pki.sign_leaf(signer, key, pki.user_name(user, TENANT), at or datetime.now(UTC)), signer.certificate)


@cache
def sound() -> Bundle:
    """A bundle with which nothing is wrong."""
    key = pki.make_key()
    return Bundle(
        kind="identity",
        context=TENANT,
        tenant=TENANT,
        user="alice",
        relay=Relay(host="relay.example.com", roots=pki.pem(authority().chain[1])),
        server_host_keys=(str(samples.key()),),
        bridges=(POSTGRES, WEB),
        uuid=UUID,
        tls_key=pki.encode_key(key).decode(),
        tls_chain=chain(key.public_key()),
        ssh_key=pki.make_ssh_key().decode(),
        made=datetime.now(UTC).replace(microsecond=0),
    )


def for_enrolment(*, good_for: timedelta = timedelta(days=1)) -> Bundle:
    """A bundle with short-lived credentials."""
    made = sound()
    return replace(made, kind="enrolment", until=made.made + good_for, bridges=())


@cache
def keys() -> tuple[str, str]:
    """An age identity and its recipient."""
    identity = pyrage.x25519.Identity.generate()
    return str(identity), str(identity.to_public())


def sealed(bundle: Bundle | None = None) -> bytes:
    """A bundle sealed to `keys`."""
    return seal(bundle or sound(), recipients=[keys()[1]])


def to_keys(content: bytes) -> bytes:
    """Any content sealed to `keys`."""
    found: bytes = pyrage.encrypt(content, [pyrage.x25519.Recipient.from_str(keys()[1])])
    return found


def to_passphrase(content: bytes, passphrase: str = PASSPHRASE, *, work: int = 1, said: str | None = None) -> bytes:
    """Content in a file of the age format with as little work as wanted; `said` is written down in its stead."""
    file_key, salt, nonce = os.urandom(16), os.urandom(16), os.urandom(16)
    wrapping = hashlib.scrypt(
        passphrase.encode(), salt=b"age-encryption.org/v1/scrypt" + salt, n=1 << work, r=8, p=1, dklen=32
    )
    wrapped = ChaCha20Poly1305(wrapping).encrypt(bytes(12), file_key, None)
    header = b"age-encryption.org/v1\n-> scrypt %s %s\n%s\n---" % (
        _base64(salt),
        (said or str(work)).encode(),
        _base64(wrapped),
    )
    mac = hmac.digest(_derive(file_key, b"header", None), header, "sha256")
    payload = ChaCha20Poly1305(_derive(file_key, b"payload", nonce))
    parts = [content[at : at + 65536] for at in range(0, len(content), 65536)] or [b""]
    chunks = [
        payload.encrypt(number.to_bytes(11, "big") + bytes([number == len(parts) - 1]), part, None)
        for number, part in enumerate(parts)
    ]
    return header + b" " + _base64(mac) + b"\n" + nonce + b"".join(chunks)


def _base64(data: bytes) -> bytes:
    return base64.b64encode(data).rstrip(b"=")


def _derive(key: bytes, info: bytes, salt: bytes | None) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=salt, info=info).derive(key)


def changed(document: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    """A document with another value at `path`, such as `bridges.0.name`; ... takes it away."""
    first, _, rest = path.partition(".")
    copy: Any = list(document) if isinstance(document, list) else dict(document)
    key: Any = int(first) if isinstance(copy, list) else first
    if rest:
        copy[key] = changed(copy[key], rest, value)
    elif value is ...:
        del copy[key]
    else:
        copy[key] = value
    found: dict[str, Any] = copy
    return found
