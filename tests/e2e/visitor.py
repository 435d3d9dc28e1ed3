"""Someone outside who looks at the relay: run in a network of the lab, prints one JSON document about one visit.

visitor.py HOST PATH [--root FILE] [--tls1.2] [--alpn NAME] [--identity CHAIN KEY] [--method METHOD] [--port PORT]
           [--plain]
"""

from __future__ import annotations

import argparse
import http.client
import json
import socket
import ssl
from typing import Any


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("host")
    parser.add_argument("path")
    parser.add_argument("--root")
    parser.add_argument("--tls1.2", dest="old", action="store_true")
    parser.add_argument("--alpn", default="http/1.1")
    parser.add_argument("--identity", nargs=2)
    parser.add_argument("--method", default="GET")
    parser.add_argument("--port", type=int, default=443)
    parser.add_argument("--plain", action="store_true")
    return parser.parse_args()


def context(given: argparse.Namespace) -> ssl.SSLContext:
    made = ssl.create_default_context(cafile=given.root)
    if given.old:
        made.maximum_version = ssl.TLSVersion.TLSv1_2
    made.set_alpn_protocols([given.alpn])
    if given.identity:
        made.load_cert_chain(*given.identity)
    return made


def visit(given: argparse.Namespace) -> dict[str, Any]:
    stream: socket.socket = socket.create_connection((given.host, given.port), timeout=10)
    seen: dict[str, Any] = {}
    if not given.plain:
        stream = context(given).wrap_socket(stream, server_hostname=given.host)
        seen = {"tls": stream.version(), "alpn": stream.selected_alpn_protocol(), "certificate": stream.getpeercert()}
        if seen["alpn"] == "h2":
            return seen
    connection = http.client.HTTPConnection(given.host)
    connection.sock = stream
    connection.request(given.method, given.path, headers={"User-Agent": "Mozilla/5.0"})
    answer = connection.getresponse()
    headers = {name.lower(): value for name, value in answer.getheaders()}
    return {**seen, "status": answer.status, "headers": headers, "body": answer.read().decode()}


def main() -> None:
    try:
        print(json.dumps(visit(arguments())))
    except (OSError, http.client.HTTPException) as error:
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}))


if __name__ == "__main__":
    main()
