"""What every test may use, and what holds for all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def project_root() -> Path:
    """The folder of this checkout."""
    return ROOT


@pytest.fixture(autouse=True)
def away_from_home(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> None:
    """Unit tests find no settings of the person who runs them and leave nothing in that person's home."""
    if "tests/unit/" in request.node.nodeid:
        monkeypatch.setenv("HOME", str(tmp_path_factory.getbasetemp() / "home"))
        for name in (
            "XDG_CACHE_HOME",
            "XDG_CONFIG_HOME",
            "XDG_DATA_HOME",
            "XDG_RUNTIME_DIR",
            "XDG_STATE_HOME",
            "NOTIFY_SOCKET",
            "WATCHDOG_USEC",
        ):
            monkeypatch.delenv(name, raising=False)
