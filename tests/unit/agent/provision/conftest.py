"""Fixtures of the tests of what the engine makes on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.agent.provision.world import World
from tunnel_whisperer.pki import keys


@pytest.fixture(autouse=True)
def cheap_passphrases(monkeypatch: pytest.MonkeyPatch) -> None:
    """What makes guessing slow would make these tests slow."""
    monkeypatch.setattr(keys, "_SCRYPT_N", 2)


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A world in which the tenant is certified."""
    made = World(tmp_path)
    made.certify()
    return made
