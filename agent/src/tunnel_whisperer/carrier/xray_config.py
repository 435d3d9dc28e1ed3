"""Xray's client configuration as data: one inbound on a private unix socket, one VLESS/XHTTP/TLS outbound.

Pure: no file is read or written here. What each setting is for is said beside it, because Xray's own defaults change.
"""

from pathlib import Path
from typing import Any, NamedTuple

from tunnel_whisperer.carrier.settings import CarrierSettings
from tunnel_whisperer.config import Profile

Json = dict[str, Any]

STREAM_IDLE = 600
"""Seconds without a byte either way after which Xray drops a stream; SSH keepalives are far more frequent."""

HALF_CLOSED_IDLE = 10
"""Seconds of silence after which Xray drops a stream that we ended; VLESS cannot tell the far end of that."""

FAR_END_CLOSED = 0
"""Seconds that Xray keeps a stream which the far end has ended; it passes that end on only when they are over."""


class _Look(NamedTuple):
    alpn: str
    fingerprint: str
    mode: str


_LOOKS: dict[Profile, _Look] = {
    # Greets as Chrome does, which always offers HTTP/2; one request carries both directions.
    "h2": _Look("h2", "chrome", "stream-one"),
    # Xray honours http/1.1 only with Go's own hello: any browser's would offer h2 as well. Two requests, thus two TCP
    # connections a stream: where one carries both, Caddy never tells us that the far end has closed, because it first
    # waits for us to finish our request.
    "h1": _Look("http/1.1", "unsafe", "stream-up"),
}


def client_config(settings: CarrierSettings, *, uuid: str, socket: Path, certificate: Path) -> Json:
    """Build the configuration of the Xray that carries our streams; dialers name their destination at `socket`.

    `certificate` is our chain, in a file that is replaced as the chain is renewed.
    """
    return {
        # Xray says why it cannot reach the relay at "info" only; nothing in there is secret.
        "log": {"loglevel": "info", "access": "none"},
        "inbounds": [{"tag": "streams", "listen": f"{socket},0600", "protocol": "http", "settings": {}}],
        "outbounds": [_outbound(settings, uuid, certificate)],
        "policy": {
            "levels": {
                "0": {"connIdle": STREAM_IDLE, "uplinkOnly": FAR_END_CLOSED, "downlinkOnly": HALF_CLOSED_IDLE},
            },
        },
    }


def _outbound(settings: CarrierSettings, uuid: str, certificate: Path) -> Json:
    relay, look = settings.relay, _LOOKS[settings.relay.profile]
    return {
        "tag": "relay",
        "protocol": "vless",
        "settings": {
            "vnext": [{"address": relay.host, "port": relay.port, "users": [{"id": uuid, "encryption": "none"}]}],
        },
        "streamSettings": {
            "network": "xhttp",
            "security": "tls",
            "tlsSettings": _tls(settings, look, certificate),
            "xhttpSettings": {
                "host": relay.host,
                "path": settings.path,
                "mode": look.mode,
                # TCP connections of its own for every stream, and never a second stream on them: an old connection
                # may be dead without knowing, and a new stream would find out too late.
                "xmux": {"maxConcurrency": 1, "cMaxReuseTimes": 1},
            },
            "sockopt": {
                # A dead path shows within 15 s whether bytes are waiting (user timeout, milliseconds) or not
                # (keepalive, seconds).
                "tcpKeepAliveIdle": 10,
                "tcpKeepAliveInterval": 5,
                "tcpUserTimeout": 15000,
            },
        },
    }


def _tls(settings: CarrierSettings, look: _Look, certificate: Path) -> Json:
    relay, key = settings.relay, settings.identity.tls_key
    certificates: list[Json] = [
        # Leaf and intermediate; Xray reads both files again every hour or so: a renewed certificate needs no restart.
        {"usage": "client-cert", "certificateFile": str(certificate), "keyFile": str(key)},
    ]
    tls: Json = {
        "serverName": relay.host,
        "alpn": [look.alpn],
        "fingerprint": look.fingerprint,
        "certificates": certificates,
    }
    if relay.roots_file:
        certificates.append({"usage": "verify", "certificateFile": str(relay.roots_file)})
        tls["disableSystemRoot"] = True
    return tls
