"""What the tests of the bridges share: queries, applications at the far end, users that change for a while."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.e2e import far_end
from tests.lab.api import Lab

HERE = Path(__file__).parent
PORTS = {"greeting": far_end.GREETING, "whole": far_end.WHOLE, "bulk": far_end.BULK, "echo": far_end.ECHO}
UNIT = "far-end.service"
QUERY = ["psql", "-X", "-A", "-t", "-h", "127.0.0.1", "-U", "demo", "-c", "select 6 * 7", "demo"]


def answers(lab: Lab, timeout: float = 15) -> bool:
    """Say whether the database at the server answers on the client."""
    env = {"PGCONNECT_TIMEOUT": "5"}
    asked = lab.run("client", ["timeout", f"{timeout:g}", *QUERY], env=env, check=False, timeout=timeout + 10)
    return asked.returncode == 0 and asked.stdout.strip() == "42"


def seconds_until_answer(lab: Lab, deadline: float) -> float:
    """Ask again and again until the database answers; return how long that took."""
    began = time.monotonic()
    lab.wait_until(lambda: answers(lab, 3), deadline, "a query to be answered", interval=0.1)
    return time.monotonic() - began


def near(lab: Lab, task: str, *numbers: int, timeout: float = 120) -> dict[str, Any]:
    """Run a task of near_end.py on the client."""
    words = ["python3", "-", task, *map(str, numbers)]
    done = lab.run("client", words, input=(HERE / "near_end.py").read_text(), timeout=timeout)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def inventory_vars(lab: Lab) -> dict[str, Any]:
    """Return the variables that all hosts of the lab's inventory share."""
    found: dict[str, Any] = yaml.safe_load(lab.place.inventory.read_text())["all"]["vars"]
    return found


def users(
    lab: Lab, playbook: str, changes: Mapping[str, Any] | None = None, *arguments: str, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run a playbook with the inventory's users, changed in places; `None` for a user leaves it out."""
    wanted = {**inventory_vars(lab)["tw_users"], **(changes or {})}
    wanted = {name: user for name, user in wanted.items() if user is not None}
    return lab.playbook(playbook, "-e", json.dumps({"tw_users": wanted}), *arguments, **options)


def alice(lab: Lab, **changes: Any) -> dict[str, Any]:
    """Return the first user as the inventory has it, with changes."""
    return {**inventory_vars(lab)["tw_users"]["alice"], **changes}


@contextmanager
def far_end_applications(lab: Lab) -> Iterator[None]:
    """Run far_end.py at the server, and permit its ports to the first user, for as long as the block runs."""
    stop_applications(lab)
    lab.run("server", ["tee", "/run/far_end.py"], input=(HERE / "far_end.py").read_text())
    lab.run("server", ["systemd-run", "--quiet", "--collect", f"--unit={UNIT}", "python3", "/run/far_end.py"])
    users(lab, "playbooks/users.yml", {"alice": alice(lab, ports=sorted(PORTS.values()))})
    try:
        yield
    finally:
        stop_applications(lab)
        users(lab, "playbooks/users.yml")


def stop_applications(lab: Lab) -> None:
    """End far_end.py where it runs."""
    lab.run("server", ["systemctl", "stop", UNIT], check=False)


def changed(output: str) -> dict[str, int]:
    """Read from the end of a playbook's output how much was changed on each host."""
    lines = output.partition("PLAY RECAP")[2].splitlines()[1:]
    found = {}
    for line in lines:
        host, _, counts = line.partition(":")
        if "changed=" in counts:
            found[host.strip()] = int(counts.split("changed=")[1].split()[0])
    return found
