"""Fixtures of the agent's unit tests."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.agent.client.stage import Stage


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """A host whose places are all in one folder; a person is at work."""
    with tempfile.TemporaryDirectory(prefix="tw-") as made:
        yield Stage(Path(made), monkeypatch)
