"""Fixtures of the end-to-end tests: the lab that TW_LAB names, set up by site.yml beforehand."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.e2e import bridges
from tests.lab.api import Lab


@pytest.fixture(scope="session")
def lab() -> Lab:
    """The lab that stands."""
    return Lab.attach(os.environ["TW_LAB"])


@pytest.fixture(scope="module")
def far_end_applications(lab: Lab) -> Iterator[None]:
    """Applications at the first server, and their ports permitted to its first user."""
    with bridges.far_end_applications(lab):
        yield
