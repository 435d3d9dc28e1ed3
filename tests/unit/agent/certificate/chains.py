"""Certificates of an authority of their own, as old as a test wants them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from tunnel_whisperer import pki
from tunnel_whisperer.tls_chain import Chain

NOW = datetime(2026, 6, 1, tzinfo=UTC)
NAME = pki.user_name("alice", "acme")
ROOT = pki.make_root(NOW - timedelta(days=1000))
CA_KEY = pki.make_key()
INTERMEDIATE = pki.sign_tenant(ROOT, CA_KEY.public_key(), "acme", NOW - timedelta(days=1000))
AUTHORITY = pki.Authority(CA_KEY, (INTERMEDIATE, ROOT.certificate))
KEY = pki.make_key()


def chain(age: float, *, key: pki.TlsKey = KEY, name: str = NAME, days: float = 90, path: str = "x") -> Chain:
    """A certificate made so many days ago."""
    leaf = pki.sign_leaf(AUTHORITY, key.public_key(), name, NOW - timedelta(days=age), days=days)
    return Chain(Path(path), key.public_key(), (leaf, INTERMEDIATE))
