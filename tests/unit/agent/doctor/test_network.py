"""The steps in front of the carrier, against web servers that are wrong in one way each."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

import pytest

from tests.integration.carrier.certificates import authority, leaf
from tests.unit.agent.doctor.web import Web
from tunnel_whisperer.config import RelayConfig
from tunnel_whisperer.doctor import network
from tunnel_whisperer.doctor.result import TroubleError

NAME = "alice.acme.tw.internal"


@pytest.fixture
def web(tmp_path: Path) -> Web:
    return Web(tmp_path)


async def trouble_with_tls(web: Web) -> TroubleError:
    async with web.serve() as relay:
        with pytest.raises(TroubleError) as caught:
            await network.tls(relay)
    return caught.value


async def test_a_name_that_does_not_resolve() -> None:
    with pytest.raises(TroubleError, match="the name does not resolve"):
        await network.resolve(RelayConfig("nowhere.invalid"))


async def test_names_and_addresses() -> None:
    assert "127.0.0.1" in (await network.resolve(RelayConfig("localhost"))).details
    assert (await network.resolve(RelayConfig("198.51.100.7"))).details == "198.51.100.7 is an address"


async def test_a_port_that_nobody_serves() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        with pytest.raises(TroubleError) as caught:
            await network.tcp(RelayConfig("127.0.0.1", sock.getsockname()[1]))
    assert caught.value.details.startswith("no connection: ")
    assert caught.value.action.startswith("let TCP ")


async def test_a_good_relay(web: Web) -> None:
    async with web.serve() as relay:
        assert (await network.tcp(relay)).details.startswith("connected to ")
        found = await network.tls(relay)
    assert found.details.startswith("TLSv1.3, certificate from 'Web Root', ")
    assert not found.advice


async def test_an_interceptor_is_called_by_its_name(web: Web) -> None:
    web.certificate = leaf("localhost", signer=authority("Corp Inspection CA"), server=True)
    trouble = await trouble_with_tls(web)
    assert "from 'Corp Inspection CA', is not accepted" in trouble.details
    assert "TLS is opened on the way" in trouble.action


async def test_a_certificate_for_another_name(web: Web) -> None:
    web.certificate = leaf("other.example", signer=web.root, server=True)
    assert "not valid for 'localhost'" in (await trouble_with_tls(web)).details


async def test_a_relays_certificate_that_has_ended(web: Web) -> None:
    web.certificate = leaf("localhost", signer=web.root, server=True, days=10, backdated=20)
    trouble = await trouble_with_tls(web)
    assert "certificate has expired" in trouble.details
    assert "set this host's clock where it is wrong" in trouble.action


async def test_a_relays_certificate_that_is_about_to_end(web: Web) -> None:
    web.certificate = leaf("localhost", signer=web.root, server=True, days=5, backdated=1)
    async with web.serve() as relay:
        assert "should have been renewed" in (await network.tls(relay)).advice


async def test_something_that_speaks_only_an_older_tls(web: Web) -> None:
    web.newest = ssl.TLSVersion.TLSv1_2
    assert (await trouble_with_tls(web)).details.startswith("TLSv1.2 was agreed on, with a certificate from 'Web Root'")


async def test_a_way_without_http_2_names_the_other_profile(web: Web) -> None:
    web.alpn = ("http/1.1",)
    trouble = await trouble_with_tls(web)
    assert trouble.details == "HTTP/2 is not on offer, only http/1.1"
    assert "relay.profile to h1" in trouble.action


async def test_roots_that_cannot_be_used(web: Web, tmp_path: Path) -> None:
    async with web.serve() as relay:
        broken = RelayConfig(relay.host, relay.port, roots_file=tmp_path / "nothing.pem")
        with pytest.raises(TroubleError, match=r"nothing\.pem cannot be used"):
            await network.tls(broken)


@pytest.mark.parametrize(("apart", "words"), [(3600, "s behind the relay's"), (-3600, "s ahead of the relay's")])
async def test_a_wrong_clock(web: Web, apart: float, words: str) -> None:
    web.clock = apart
    async with web.serve() as relay:
        with pytest.raises(TroubleError, match=words) as caught:
            await network.clock(relay)
    assert "timedatectl" in caught.value.action


async def test_a_clock_that_is_right(web: Web) -> None:
    web.clock = 5
    async with web.serve() as relay:
        assert (await network.clock(relay)).details.endswith("s apart at most")


@pytest.mark.parametrize(
    ("status", "headers", "words"),
    [
        (200, "", r"the relay shows its ordinary page \(200\)"),
        (405, "Allow: GET, HEAD\r\n", r"the relay shows its ordinary page \(405\)"),
        (502, "", r"the entry behind it is down \(502\)"),
    ],
)
async def test_a_gate_that_does_not_open(web: Web, status: int, headers: str, words: str) -> None:
    web.status, web.headers = status, headers
    identity = web.identity(leaf(NAME, signer=authority("Acme")))
    async with web.serve() as relay:
        with pytest.raises(TroubleError, match=words):
            await network.gate(relay, identity, "acme")
    assert web.seen == ["/tw/acme/"]


async def test_a_gate_that_opens(web: Web) -> None:
    web.headers = "X-Padding: XXXX\r\n"
    identity = web.identity(leaf(NAME, signer=authority("Acme")))
    async with web.serve() as relay:
        assert (await network.gate(relay, identity, "acme")).details == "our certificate opens the entry"


async def test_a_gate_that_refuses_our_certificate(web: Web) -> None:
    web.clients = authority("Another Root")
    identity = web.identity(leaf(NAME, signer=authority("Acme")))
    async with web.serve() as relay:
        with pytest.raises(TroubleError, match="the relay refuses our certificate: "):
            await network.gate(relay, identity, "acme")
