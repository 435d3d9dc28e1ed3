"""What `tw status` says of certificates."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.unit.agent.certificate.chains import NOW
from tunnel_whisperer.cli import status
from tunnel_whisperer.identity import ENROL
from tunnel_whisperer.tls_chain import Life

YEAR = Life(NOW, NOW + timedelta(days=365))


@pytest.mark.parametrize(
    ("days", "renewal", "line"),
    [
        (100, {"error": None}, "certificate until 2027-06-01, 265 days left"),
        (300, {"error": None}, "certificate until 2027-06-01, 65 days left; not renewed yet"),
        (
            300,
            {"error": "no link to the server is up"},
            "certificate until 2027-06-01, 65 days left; not renewed: no link to the server is up",
        ),
        (
            366,
            {"error": None},
            f"certificate ended on 2027-06-01; {ENROL}",
        ),
    ],
)
def test_a_certificate_has_a_line_of_its_own(days: float, renewal: dict[str, Any], line: str) -> None:
    found = YEAR.status(NOW + timedelta(days=days)) | {"renewal": renewal}
    assert list(status._certificates({"certificate": found})) == [f"  identity {line}"]


def test_a_server_has_one_for_its_authority() -> None:
    found = YEAR.status(NOW)
    lines = list(status._certificates({"certificate": None, "authority": found}))
    assert lines == ["  issuer   certificate until 2027-06-01, 365 days left"]
