"""Fixtures of the command line's tests."""

from __future__ import annotations

import pytest

from tests.unit.agent.cli.commands import Tw


@pytest.fixture
def tw(capsys: pytest.CaptureFixture[str]) -> Tw:
    """The command."""
    return Tw(capsys)
