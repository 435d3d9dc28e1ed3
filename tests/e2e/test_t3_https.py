"""T3: TLS ends at the relay, tunnels are for those who hold a certificate for them, and all others see a web site."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.e2e.outside import foreign, relay_name, signed_by_tenant, tenants_own, visit
from tests.lab.api import Lab

TUNNEL = "/tw/acme/"
OF_NO_MEANING = {"date", "etag", "last-modified"}


def shown(answer: dict[str, Any]) -> tuple[int, dict[str, str], str]:
    """What a visitor can tell one answer from another by."""
    headers = {name: value for name, value in answer["headers"].items() if name not in OF_NO_MEANING}
    return answer["status"], headers, answer["body"]


def test_t3_a_visitor_sees_an_ordinary_page(lab: Lab) -> None:
    answer = visit(lab, "/")
    assert answer["status"] == 200
    assert answer["headers"]["content-type"].startswith("text/html")
    assert relay_name(lab) in answer["body"]
    assert "tunnel" not in answer["body"].lower()


def test_t3_tls_is_1_3_with_http_1_and_2_and_nothing_else(lab: Lab) -> None:
    assert visit(lab, "/")["tls"] == "TLSv1.3"
    assert visit(lab, "/", "--alpn", "h2")["alpn"] == "h2"
    assert visit(lab, "/", "--alpn", "http/1.1")["alpn"] == "http/1.1"
    assert "error" in visit(lab, "/", "--tls1.2")
    assert "alt-svc" not in visit(lab, "/")["headers"]
    assert ":443" not in lab.run("relay", ["ss", "-Huln"]).stdout


@pytest.mark.parametrize("path", [TUNNEL, "/tw/operator/", "/tw/nobody/", "/tw/acme/../acme/", "/tw/"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_t3_a_tunnel_looks_like_a_page_that_is_not_there(lab: Lab, path: str, method: str) -> None:
    missing = visit(lab, "/no-such-page", "--method", method)
    assert missing["status"] in {404, 405}
    assert shown(visit(lab, path, "--method", method)) == shown(missing)


def test_t3_a_foreign_certificate_is_turned_away(lab: Lab, tmp_path: Path) -> None:
    assert "error" in visit(lab, TUNNEL, identity=foreign(tmp_path, "server.acme.tw.internal"))


@pytest.mark.parametrize("name", ["server.beta.tw.internal", "primary.operator.tw.internal", "server.acme.example"])
def test_t3_a_tenant_that_forges_another_name_is_turned_away_by_tls(lab: Lab, tmp_path: Path, name: str) -> None:
    assert "error" in visit(lab, TUNNEL, identity=signed_by_tenant(lab, tmp_path, name))


@pytest.mark.parametrize("path", ["/tw/operator/", "/tw/beta/", "/tw/cme/", "/no-such-page"])
def test_t3_a_tenants_certificate_is_good_for_its_own_tunnel_only(lab: Lab, tmp_path: Path, path: str) -> None:
    own = tenants_own(lab, tmp_path)
    assert shown(visit(lab, path, identity=own)) == shown(visit(lab, "/no-such-page"))


def test_t3_a_tenants_certificate_leads_to_its_xray(lab: Lab, tmp_path: Path) -> None:
    through = visit(lab, TUNNEL, identity=tenants_own(lab, tmp_path))
    assert shown(through) != shown(visit(lab, "/no-such-page"))
    assert "<html" not in through["body"]


def test_t3_any_name_of_the_tenants_own_range_is_let_in(lab: Lab, tmp_path: Path) -> None:
    """The gate asks for the tenant; who it is within the tenant is asked by its Xray and its sshd."""
    mine = visit(lab, TUNNEL, identity=signed_by_tenant(lab, tmp_path, "anyone.acme.tw.internal"))
    assert (mine["status"], mine["body"]) == (400, "")
