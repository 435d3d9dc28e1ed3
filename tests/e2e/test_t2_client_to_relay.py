"""T2: the client's transport: TLS to the relay's port 443, and nothing else leaves the client's site but DNS."""

from __future__ import annotations

import json
import subprocess
import time

from tests.e2e.bridges import answers
from tests.e2e.test_t1_server_to_relay import connections
from tests.lab.api import Lab
from tests.lab.plan import PUBLIC

FIELDS = ["-T", "fields", "-e", "ip.dst", "-e", "tcp.dstport", "-e", "udp.dstport"]


def test_t2_the_client_holds_its_links_over_443_and_nothing_else(lab: Lab) -> None:
    relay = lab.plan.host("relay").address(PUBLIC)
    assert connections(lab, "client") == {f"{relay}:443"}


def test_t2_each_link_has_a_carrier_connection_of_its_own(lab: Lab) -> None:
    status = json.loads(lab.run("client", ["tw", "status", "--json"]).stdout)
    contexts = [daemon for daemon in status["daemons"] if daemon["kind"] == "connect"]
    assert "acme" in {context["name"] for context in contexts}
    links = [link for context in contexts for link in context["links"]]
    assert [link["state"] for link in links] == ["up"] * 2 * len(contexts)
    sockets = lab.run("client", ["ss", "-Htn", "state", "established", "dport", "= :443"]).stdout.splitlines()
    assert len(sockets) >= len(links)


def test_t2_a_capture_on_the_clients_gateway_shows_only_443_to_the_relay_and_dns(lab: Lab) -> None:
    """From a restart on, so that names are resolved and connections are made anew, until a query was answered."""
    client, relay = lab.plan.host("client").address("clients"), lab.plan.host("relay").address(PUBLIC)
    words = ["tshark", "-q", "-l", "-n", "-i", "any", *FIELDS, "-f", f"src host {client}"]
    capture = lab.ns_popen("client-gate", [*words, "-P"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        time.sleep(2)
        lab.run("client", ["systemctl", "restart", "tw-connect@acme"])
        lab.wait_until(lambda: answers(lab, 3), 30, "a query to be answered")
        time.sleep(1)
    finally:
        capture.terminate()
        seen, _ = capture.communicate(timeout=20)
    packets = {tuple(line.split("\t")) for line in seen.splitlines() if line.strip()}
    to_relay = {packet for packet in packets if packet == (relay, "443", "")}
    dns = {packet for packet in packets if packet[1] == "53" or packet[2:] == ("53",)}
    assert to_relay
    assert packets == to_relay | dns, sorted(packets - to_relay - dns)
