"""T1: the server's transport: TLS to the relay's port 443, out only."""

from __future__ import annotations

import json
import re

from tests.e2e.bridges import answers
from tests.lab.api import Lab
from tests.lab.plan import PUBLIC, SERVERS


def connections(lab: Lab, host: str) -> set[str]:
    """Return the far ends of the TCP connections that leave a host, the operator's own network left out."""
    told = lab.run(host, ["ss", "-Htn", "state", "established"]).stdout
    peers = {line.split()[-1] for line in told.splitlines()}
    return {peer for peer in peers if not peer.startswith(("127.", "[::1]", "10.40.0."))}


def test_t1_the_server_holds_its_links_over_443_and_nothing_else(lab: Lab) -> None:
    relay = lab.plan.host("relay").address(PUBLIC)
    assert connections(lab, "server") == {f"{relay}:443"}


def test_t1_each_link_has_a_carrier_connection_of_its_own(lab: Lab) -> None:
    status = json.loads(lab.run("server", ["tw", "status", "--json"]).stdout)
    (serve,) = (daemon for daemon in status["daemons"] if daemon["kind"] == "serve")
    live = [link for link in serve["links"] if link["state"] == "up"]
    assert len(live) == 2
    told = lab.run("server", ["ss", "-Htn", "state", "established", "dport", "=", ":443"]).stdout
    assert len(told.splitlines()) >= 2


def test_t1_the_server_site_lets_nothing_in(lab: Lab) -> None:
    address = lab.plan.host("server").address(SERVERS)
    tried = lab.ns_run(
        "outside", ["nmap", "-Pn", "-n", "-p", "22,443,2222,5432", address], check=False, timeout=60
    ).stdout
    assert not re.search(r"/tcp +open", tried)
    assert answers(lab)


def test_t1_the_server_opens_no_port_but_on_its_own_loopback(lab: Lab) -> None:
    told = lab.run("server", ["ss", "-Htlnp"]).stdout
    ours = [line.split()[3] for line in told.splitlines() if '"tw"' in line or '"xray"' in line or "python" in line]
    assert ours == ["127.0.0.1:2222"]
