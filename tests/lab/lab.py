"""Brings a lab up, takes it down, and says how it is."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from tests.lab import cgroups, hosts, image, inventory, keeper, machine, network, services
from tests.lab.commands import LabError, run, wait_until
from tests.lab.paths import Place, base_dir, locked
from tests.lab.plan import Node, Plan, Shape
from tests.lab.report import Report

NO_WORLD = (
    "  note: the control node finds no names outside the lab, so what is not in the cache yet cannot be fetched. Is "
    "this machine online, and does its firewall forward packets (Docker, for one, makes it drop them)?"
)


def load(place: Place) -> Plan:
    """Return the plan of a lab that stands; a lab that was never finished does not count."""
    if not place.description.is_file():
        raise LabError(f"there is no lab '{place.name}'", hint=f"make lab-up NAME={place.name}")
    return Plan(Shape(**json.loads(place.description.read_text())))


def up(place: Place, shape: Shape | None, report: Report) -> Plan:
    """Bring the lab up: from nothing, or only what is missing in one that stands. ``None`` takes the shape it has."""
    machine.check(report)
    with locked(place.lock):
        if place.description.is_file() and (not network.uplink_stands(place) or not network.namespaces(place)):
            report.say(f"lab: '{place.name}' was cut off by a restart of this machine; building it anew")
            remove(place)
        if place.description.is_file():
            plan = load(place)
            if shape not in (None, plan.shape):
                raise LabError(
                    f"the lab '{place.name}' stands with other numbers of hosts",
                    hint=f"make lab-down NAME={place.name} first",
                )
        else:
            plan = Plan(shape or Shape())
            _build(plan, place, image.ensure(report), report)
        _run(plan, place, report)
    return plan


def _build(plan: Plan, place: Place, tree: Path, report: Report) -> None:
    """Make what stays for the lab's life. The description is written last: without it, all this is taken for debris."""
    remove(place)
    place.dir.mkdir(parents=True, mode=0o755)
    report.say(f"network: {len(plan.nodes)} namespaces, three sites, an uplink for the control node")
    network.create(plan, place)
    network.connect(place)
    report.say(f"hosts: {', '.join(host.name for host in plan.hosts)}")
    hosts.make_key(place)
    for host in plan.hosts:
        hosts.prepare(place, tree, host)
    hosts.write_ssh_files(plan, place)
    place.description.write_text(json.dumps(asdict(plan.shape)) + "\n")


def _run(plan: Plan, place: Place, report: Report) -> None:
    """Start whatever does not run, and wait until all of it answers."""
    with report.step("boot: systemd on every host, DNS and the ACME CA"):
        for host in plan.hosts:
            hosts.boot(place, host)
        services.start_dns(plan, place)
        if not services.reaches_world(place, image.mirror_name()):
            report.say(NO_WORLD)
        services.start_acme(place)
        inventory.write(plan, place)
        with ThreadPoolExecutor(len(plan.hosts)) as pool:
            list(pool.map(lambda host: _ready(plan, place, host), plan.hosts))


def _ready(plan: Plan, place: Place, host: Node) -> None:
    if host.kind == "guest":
        hosts.wait_for_boot(place, host)
    elif _relay_is_closed(place, host):
        wait_until(lambda: hosts.init_pid(place, host.name), 30, f"{host.name} to boot")
    else:
        hosts.wait_for_ssh(place, host)
    if host.kind == "server":
        hosts.start_database(place, host)


def _relay_is_closed(place: Place, host: Node) -> bool:
    """Say whether the collection has already taken this relay's sshd off the public address."""
    return host.kind == "relay" and (place.tree(host.name) / "etc/tw-relay").is_dir()


def down(place: Place, report: Report) -> None:
    """Remove the lab, or what is left of one."""
    machine.require_root("taking a lab down")
    with locked(place.lock, keep=False), report.step(f"down: '{place.name}'"):
        remove(place)
        if base_dir().is_dir() and not any(base_dir().iterdir()):
            base_dir().rmdir()


def remove(place: Place) -> None:
    """End every process of the lab, then take away mounts, namespaces, cgroups, rules and files, whatever is left."""
    if network.inside(place):
        raise LabError("this command runs inside the lab", hint="leave the lab's shell, then run it again")
    cgroups.kill(f"{place.cgroup}/keepers")
    cgroups.kill(place.cgroup)
    _kill_visitors(place)
    hosts.unmount_all(place)
    hosts.forget(place)
    network.disconnect(place)
    network.destroy(place)
    cgroups.remove(place.cgroup)
    if place.dir.exists():
        shutil.rmtree(place.dir)


def _kill_visitors(place: Place) -> None:
    """End what others started in the lab's namespaces: SSH masters of Ansible, captures, probes."""

    def none_left() -> bool:
        names = network.namespaces(place)
        left = [int(pid) for name in names for pid in run(["ip", "netns", "pids", name]).stdout.split()]
        for pid in left:
            with _gone_is_fine():
                os.kill(pid, signal.SIGKILL)
        return not left

    wait_until(none_left, 20, "the processes in the lab's namespaces to end", interval=0.02)


@contextmanager
def _gone_is_fine() -> Iterator[None]:
    try:
        yield
    except ProcessLookupError:
        return


def status(place: Place) -> dict[str, str]:
    """Say of every part of the lab whether it runs."""
    plan = load(place)
    parts = {host.name: "booted" if hosts.init_pid(place, host.name) else "off" for host in plan.hosts}
    for part in ("dns", "resolver", "acme"):
        parts[part] = "running" if keeper.alive(place.pid_file(part)) else "off"
    return parts
