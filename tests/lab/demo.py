"""The demo: bare hosts, one playbook, and a database answering through a network that lets nobody in."""

from __future__ import annotations

from tests.lab import hosts, lab
from tests.lab.api import Lab
from tests.lab.commands import LabError
from tests.lab.paths import Place
from tests.lab.plan import Shape
from tests.lab.report import Report

QUERY = "select host, words, now()::timestamp(0) as asked from greeting"


def demo(place: Place, shape: Shape | None, report: Report) -> int:
    """Bring the lab up, run ``site.yml``, ask the server's database on the client; return the exit status."""
    standing = Lab(place, lab.up(place, shape, report))
    with report.step("site: ansible-playbook playbooks/site.yml, from the control node"):
        result = standing.playbook("playbooks/site.yml", timeout=None, check=False, capture=False)
    if result.returncode != 0:
        raise LabError(
            "site.yml did not end well; what it said last is above",
            hint=f"look around with make lab-shell HOST=relay NAME={place.name}, then run the same command again",
        )
    report.say("query: on client1, psql -h 127.0.0.1, for the database that listens on server1's loopback only")
    asked = standing.run("client1", ["psql", "-h", "127.0.0.1", "-U", hosts.DEMO, "-c", QUERY, hosts.DEMO], check=False)
    if asked.returncode != 0:
        raise LabError(
            f"the query through the bridge failed: {asked.stderr.strip()}",
            hint=f"make lab-shell HOST=client NAME={place.name}, then: tw status; tw test",
        )
    print(asked.stdout)
    report.say("done")
    print(_next_steps(place))
    return 0


def _next_steps(place: Place) -> str:
    name = "" if place.name == "demo" else f" NAME={place.name}"
    return f"""\
What to try next:
  make lab-shell HOST=client{name}      a shell on the client: tw status, tw test, psql -h 127.0.0.1 -U demo demo
  make lab-shell HOST=relay{name}       the relay: systemctl restart tw-caddy, reboot; then ask again
  make lab-shell HOST=outside{name}     the Internet: nmap -p- relay.example.test
  {place.inventory}   the inventory: add a user, then make demo{name} again
  make lab-down{name}                   take it all away"""
