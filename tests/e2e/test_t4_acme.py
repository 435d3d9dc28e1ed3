"""T4: the relay gets and renews its certificate over HTTP on port 80."""

from __future__ import annotations

import pytest

from tests.e2e.outside import relay_name, visit
from tests.lab.api import Lab

STORE = "/var/lib/tw-caddy"


def test_t4_the_certificate_is_from_the_acme_authority(lab: Lab) -> None:
    """That it verifies by the authority's root is checked by every visit."""
    certificate = visit(lab, "/")["certificate"]
    assert ("DNS", relay_name(lab)) in [tuple(name) for name in certificate["subjectAltName"]]
    issuer = {key: value for part in certificate["issuer"] for key, value in part}
    assert "Pebble" in issuer["commonName"]


def test_t4_port_80_leads_to_https(lab: Lab) -> None:
    answer = visit(lab, "/some/page", "--plain", "--port", "80")
    assert answer["status"] in {301, 302, 307, 308}
    assert answer["headers"]["location"] == f"https://{relay_name(lab)}/some/page"


@pytest.mark.timeout(180)
def test_t4_a_lost_certificate_is_obtained_anew(lab: Lab) -> None:
    before = visit(lab, "/")["certificate"]["serialNumber"]
    # The account goes too: the authority remembers what it has challenged an account for.
    lab.shell("relay", f"systemctl stop tw-caddy; rm -rf {STORE}/certificates {STORE}/acme; systemctl start tw-caddy")
    lab.wait_until(lambda: "certificate" in visit(lab, "/"), 90, "a new certificate")
    assert visit(lab, "/")["certificate"]["serialNumber"] != before
    challenges = lab.run("relay", ["journalctl", "-u", "tw-caddy", "-b", "-o", "cat", "--no-pager"]).stdout
    assert "http-01" in challenges
    assert "tls-alpn-01" not in challenges
