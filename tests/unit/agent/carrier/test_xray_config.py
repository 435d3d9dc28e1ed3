"""Xray's client configuration as data."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tunnel_whisperer.carrier.settings import CarrierSettings
from tunnel_whisperer.carrier.xray_config import client_config
from tunnel_whisperer.config import PROFILES, RelayConfig

names = st.from_regex(r"[a-z][a-z0-9-]{0,20}[a-z0-9]", fullmatch=True)
paths = st.lists(names, min_size=1, max_size=4).map(lambda parts: Path("/", *parts))
relays = st.builds(
    RelayConfig,
    host=st.lists(names, min_size=1, max_size=3).map(".".join),
    port=st.integers(1, 65535),
    profile=st.sampled_from(PROFILES),
    roots_file=st.none() | paths,
)
carriers = st.builds(CarrierSettings.for_entry, relays, names, paths)
uuids = st.uuids().map(str)
CERTIFICATE = Path("/run/tw-serve/tls.crt")


def texts(value: Any) -> Iterator[str]:
    """All texts in a JSON value that are no keys."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from texts(item)
    elif isinstance(value, str):
        yield value


@given(carriers, uuids, paths)
def test_it_is_json_and_leads_nowhere_but_to_the_relay(settings: CarrierSettings, uuid: str, socket: Path) -> None:
    config = client_config(settings, uuid=uuid, socket=socket, certificate=CERTIFICATE)
    assert json.loads(json.dumps(config)) == config
    (inbound,), (outbound,) = config["inbounds"], config["outbounds"]
    assert inbound["listen"] == f"{socket},0600"
    assert "port" not in inbound
    (server,) = outbound["settings"]["vnext"]
    assert (server["address"], server["port"]) == (settings.relay.host, settings.relay.port)
    assert [text for text in texts(config) if text == uuid] == [uuid]


@given(carriers, uuids, paths)
def test_it_shows_our_certificate_and_trusts_the_given_roots_alone(
    settings: CarrierSettings, uuid: str, socket: Path
) -> None:
    (outbound,) = client_config(settings, uuid=uuid, socket=socket, certificate=CERTIFICATE)["outbounds"]
    tls = outbound["streamSettings"]["tlsSettings"]
    own, *roots = tls["certificates"]
    assert own["usage"] == "client-cert"
    assert own["certificateFile"] == str(CERTIFICATE)
    assert own["keyFile"] == str(settings.identity.tls_key)
    assert tls["serverName"] == settings.relay.host
    if settings.relay.roots_file is None:
        assert roots == []
        assert "disableSystemRoot" not in tls
    else:
        assert roots == [{"usage": "verify", "certificateFile": str(settings.relay.roots_file)}]
        assert tls["disableSystemRoot"] is True
    assert "allowInsecure" not in tls


@given(carriers, uuids, paths)
def test_modes_and_connections_are_never_left_to_xrays_defaults(
    settings: CarrierSettings, uuid: str, socket: Path
) -> None:
    (outbound,) = client_config(settings, uuid=uuid, socket=socket, certificate=CERTIFICATE)["outbounds"]
    stream = outbound["streamSettings"]
    assert stream["xhttpSettings"]["mode"] in {"stream-one", "stream-up"}
    assert stream["xhttpSettings"]["xmux"] == {"maxConcurrency": 1, "cMaxReuseTimes": 1}
    assert stream["xhttpSettings"]["path"] == settings.path
    (alpn,) = stream["tlsSettings"]["alpn"]
    # A browser's hello always offers HTTP/2, so HTTP/1.1 needs Go's own.
    assert (alpn, stream["tlsSettings"]["fingerprint"]) == {
        "h2": ("h2", "chrome"),
        "h1": ("http/1.1", "unsafe"),
    }[settings.relay.profile]
    assert all(stream["sockopt"][key] > 0 for key in ("tcpKeepAliveIdle", "tcpKeepAliveInterval", "tcpUserTimeout"))
