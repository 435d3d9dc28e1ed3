"""Lines that Xray logged, and what we make of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunnel_whisperer.carrier.reasons import explain
from tunnel_whisperer.carrier.settings import CarrierSettings
from tunnel_whisperer.config import RelayConfig

SETTINGS = CarrierSettings.for_entry(RelayConfig("relay.example"), "acme", Path("/etc/tw/serve"))
HEAD = "transport/internet/splithttp: "
POST = f'{HEAD}failed to POST https://relay.example/tw/acme/ > Post "https://relay.example/tw/acme/": '
GET = f'{HEAD}failed to GET https://relay.example/tw/acme/ > Get "https://relay.example/tw/acme/c3b3": '


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (f"{POST}dial tcp 127.0.0.1:443: connect: connection refused", "relay.example refuses connections on port 443"),
        (f"{GET}dial tcp 127.0.0.1:443: connect: connection refused", "relay.example refuses connections on port 443"),
        (f"{POST}dial tcp: lookup relay.example on 10.0.0.1:53: no such host", "relay.example does not resolve"),
        (f"{POST}dial tcp 10.0.0.1:443: i/o timeout", "relay.example does not answer on port 443"),
        (
            f"{POST}tls: failed to verify certificate: x509: certificate signed by unknown authority",
            "from no authority that we trust: TLS is intercepted",
        ),
        (f"{POST}remote error: tls: bad certificate", "the relay refuses our certificate"),
        (f"{POST}remote error: tls: expired certificate", "our certificate has expired"),
        (f"{POST}something new", "the relay relay.example cannot be reached: something new"),
        (f"{HEAD}unexpected status 405", "the relay shows its ordinary page at /tw/acme"),
        (f"{HEAD}unexpected status 502", "the entry /tw/acme is not up at the relay"),
    ],
)
def test_it_says_what_a_failure_means(line: str, words: str) -> None:
    assert words in (explain(line, SETTINGS) or "")


@pytest.mark.parametrize(
    "line",
    [
        "proxy/vless/outbound: tunneling request to tcp:127.0.0.1:22 via relay.example:443",
        f"{HEAD}XHTTP is dialing to tcp:relay.example:443, mode stream-one, HTTP version 2, host relay.example",
        "app/proxyman/inbound: connection ends > write unix /run/x->@: write: broken pipe",
        "",
    ],
)
def test_other_lines_are_no_reasons(line: str) -> None:
    assert explain(line, SETTINGS) is None
