"""The lab for programs: attach to one that stands, run things in its hosts and namespaces, reboot and unplug them."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any, TypeVar

from tests.lab import commands, hosts, keeper, lab, machine, network
from tests.lab.commands import LabError, run, wait_until
from tests.lab.paths import ROOT, Place
from tests.lab.plan import CONTROL, SWITCH, Plan, Shape
from tests.lab.report import Report

T = TypeVar("T")
Completed = subprocess.CompletedProcess[str]

__all__ = ["Lab", "LabError"]


class Lab:
    """A lab that stands. ``relay``, ``server`` and ``client`` mean the first host of their kind."""

    def __init__(self, place: Place, plan: Plan) -> None:
        self.place = place
        self.plan = plan

    @classmethod
    def attach(cls, name: str = "demo") -> Lab:
        """Attach to a lab that stands; a :class:`LabError` says so if it does not."""
        place = Place.of(name)
        return cls(place, lab.load(place))

    @classmethod
    def up(cls, name: str = "demo", *, relays: int = 1, servers: int = 1, clients: int = 1, quiet: bool = False) -> Lab:
        """Bring a lab up, or what is missing in it, and attach to it."""
        place = Place.of(name)
        return cls(place, lab.up(place, Shape(relays, servers, clients), Report(quiet=quiet)))

    def down(self) -> None:
        """Take the lab down."""
        lab.down(self.place, Report(quiet=True))

    def argv(self, node: str, argv: Sequence[str]) -> list[str]:
        """Return the whole command that runs ``argv`` as root inside a host, or in a namespace such as ``outside``."""
        name = self._name(node)
        if self.is_place(name):
            return [*self._namespace(name), *argv]
        return [*hosts.inside(self.place, name), *argv]

    def is_place(self, node: str) -> bool:
        """Say whether this is a network namespace with the machine's files, rather than a booted host."""
        return self._name(node) == SWITCH or self.plan.node(node).kind == "place"

    def run(
        self,
        node: str,
        argv: Sequence[str],
        *,
        input: str | None = None,
        timeout: float | None = 60,
        check: bool = True,
        env: Mapping[str, str] | None = None,
    ) -> Completed:
        """Run a command inside a host or namespace. It needs no network of the host, so it works with any link cut."""
        return run(self._with_env(node, argv, env), input=input, timeout=timeout, check=check)

    def shell(self, node: str, script: str, **options: Any) -> Completed:
        """Run lines of shell; the first failing one ends them."""
        return self.run(node, ["/bin/sh", "-euc", script], **options)

    def ns_run(self, node: str, argv: Sequence[str], **options: Any) -> Completed:
        """Run a program of this machine in a node's network only; for a host: its network, but this machine's files."""
        machine.bring_probe(argv[0])
        return run([*self._namespace(self._name(node)), *argv], **options)

    def popen(
        self,
        node: str,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        stdin: int | IO[Any] | None = subprocess.DEVNULL,
        stdout: int | IO[Any] | None = subprocess.PIPE,
        stderr: int | IO[Any] | None = subprocess.PIPE,
        text: bool = False,
    ) -> subprocess.Popen[Any]:
        """Start a command inside a host or namespace and return at once."""
        full = self._with_env(node, argv, env)
        return subprocess.Popen(full, stdin=stdin, stdout=stdout, stderr=stderr, text=text)

    def ns_popen(self, node: str, argv: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        """Start a program of this machine in a node's network only (a capture, a scan) and return at once."""
        machine.bring_probe(argv[0])
        return subprocess.Popen([*self._namespace(self._name(node)), *argv], **options)

    def ssh(self, host: str, argv: Sequence[str], **options: Any) -> Completed:
        """Run a command over SSH from the control node, as Ansible reaches the host at first."""
        words = ["ssh", "-F", str(self.place.ssh_config), self.plan.host(host).name, *argv]
        return self.run(CONTROL, words, **options)

    def playbook(
        self, playbook: str, *arguments: str, timeout: float | None = 900, check: bool = True, capture: bool = True
    ) -> Completed:
        """Run a playbook of this checkout on the control node with the lab's inventory."""
        words = ["ansible-playbook", "-i", str(self.place.inventory), playbook, *arguments]
        return self.control(words, timeout=timeout, check=check, capture=capture)

    def control(
        self, argv: Sequence[str], *, timeout: float | None = 900, check: bool = True, capture: bool = True
    ) -> Completed:
        """Run a command on the control node with this checkout's tools and the lab's Ansible settings."""
        words = [*self._namespace(CONTROL), str(ROOT / "scripts/in-env"), *argv]
        return run(words, timeout=timeout, check=check, env=self.control_env, cwd=str(ROOT), capture=capture)

    @property
    def control_env(self) -> dict[str, str]:
        """What the environment of Ansible on the control node has beyond the usual."""
        return {"ANSIBLE_CONFIG": str(self.place.ansible_cfg), "ANSIBLE_INVENTORY": str(self.place.inventory)}

    def reboot(self, host: str, *, deadline: float = 60) -> None:
        """Reboot a host from the inside; return when its systemd has started anew."""
        name = self.plan.host(host).name
        before = hosts.init_pid(self.place, name)
        hosts.dismiss_visitors(self.place, name)
        self.run(name, ["systemctl", "reboot"], check=False)
        wait_until(
            lambda: hosts.init_pid(self.place, name) != before and self.booted(name), deadline, f"{name} to reboot"
        )

    def stop(self, host: str) -> None:
        """Pull a host's plug: nothing inside gets to say good-bye."""
        keeper.stop(self.place, self.plan.host(host).name)

    def start(self, host: str, *, deadline: float = 60) -> None:
        """Boot a host that is off; return when its systemd runs."""
        node = self.plan.host(host)
        hosts.boot(self.place, node)
        wait_until(lambda: self.booted(node.name), deadline, f"{node.name} to boot")

    def booted(self, host: str) -> bool:
        """Say whether the host runs and its systemd has started everything it wanted to start."""
        name = self.plan.host(host).name
        if hosts.init_pid(self.place, name) is None:
            return False
        state = self.run(name, ["systemctl", "is-system-running"], check=False).stdout.strip()
        return state in {"running", "degraded"}

    def cut(self, node: str, net: str) -> None:
        """Unplug a node's cable to ``public``, ``servers``, ``clients`` or ``mgmt``; packets vanish in silence."""
        self._plug(node, net, "down")

    def mend(self, node: str, net: str) -> None:
        """Plug the cable in again."""
        self._plug(node, net, "up")

    def wait_until(self, predicate: Callable[[], T], deadline: float, what: str, *, interval: float = 0.1) -> T:
        """Ask until the answer is true; see :func:`tests.lab.commands.wait_until`."""
        return commands.wait_until(predicate, deadline, what, interval=interval)

    def _plug(self, node: str, net: str, state: str) -> None:
        found = self.plan.node(node)
        nets = [leg.network for leg in found.legs]
        if net not in nets:
            raise LabError(f"{found.name} has no cable to '{net}'", hint=f"one of {', '.join(nets)}")
        # Taking the port out of the bridge leaves the node's own interface up, as a fault somewhere on the way does.
        words = ["nomaster"] if state == "down" else ["master", net]
        run([*self._namespace(SWITCH), "ip", "link", "set", network.port_name(found.name, net), *words])

    def _name(self, node: str) -> str:
        return node if node == SWITCH else self.plan.node(node).name

    def _namespace(self, node: str) -> list[str]:
        return ["ip", "netns", "exec", self.place.namespace(node)]

    def _with_env(self, node: str, argv: Sequence[str], env: Mapping[str, str] | None) -> list[str]:
        words = ["env", *(f"{name}={value}" for name, value in env.items())] if env else []
        return self.argv(node, [*words, *argv])
