"""What the machine needs before a lab can stand on it: checked first, and what apt can bring is brought."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Mapping

from tests.lab import cgroups, services
from tests.lab.commands import CommandFailed, LabError, run
from tests.lab.report import Report

# program -> Debian package
TOOLS = {
    "systemd-nspawn": "systemd-container",
    "debootstrap": "debootstrap",
    "dnsmasq": "dnsmasq-base",
    "pebble": "pebble",
    "ip": "iproute2",
    "nft": "nftables",
    "setsid": "util-linux",
    "sysctl": "procps",
    "ssh": "openssh-client",
    "curl": "curl",
}
# What only looks at a lab from outside is brought when it is first asked for.
PROBES = {"nmap": "nmap", "tshark": "tshark", "tcpdump": "tcpdump"}


def missing_packages(tools: Mapping[str, str], found: Callable[[str], object] = shutil.which) -> list[str]:
    """Return the packages that bring the programs this machine lacks."""
    return sorted({package for tool, package in tools.items() if not found(tool)})


def bring_probe(program: str) -> None:
    """Install a program that looks at networks, if it is one and this machine lacks it."""
    if program in PROBES and (packages := missing_packages({program: PROBES[program]})):
        install(packages)


def require_root(what: str) -> None:
    """Refuse to begin without the rights for it."""
    if os.geteuid() != 0:
        raise LabError(
            f"{what} needs root: it makes network namespaces, mounts file systems and boots systems in them",
            hint="run the same command with sudo, or in a virtual machine where you are root",
        )


def check(report: Report) -> None:
    """Check everything before anything is changed; then install what is missing."""
    require_root("the lab")
    if not shutil.which("apt-get"):
        raise LabError(
            "the lab runs on Debian and its relatives: this machine has no apt-get",
            hint="run it in a Debian or Ubuntu virtual machine",
        )
    cgroups.roots()
    services.machine_resolvers()
    _kernel()
    if packages := missing_packages(TOOLS):
        with report.step(f"machine: apt-get install {' '.join(packages)}"):
            install(packages)
    else:
        report.say("machine: all tools are here")


def install(packages: Iterable[str]) -> None:
    """Install packages; the package lists are fetched only if the first try fails for lack of them."""
    argv = ["apt-get", "install", "--yes", "--quiet", "--no-install-recommends", *packages]
    env = {"DEBIAN_FRONTEND": "noninteractive"}
    if run(argv, check=False, timeout=900, env=env).returncode == 0:
        return
    try:
        run(["apt-get", "update", "--quiet"], timeout=300)
        run(argv, timeout=900, env=env)
    except CommandFailed as error:
        raise LabError(
            f"the lab needs packages that apt-get could not install ({' '.join(packages)}): {error}",
            hint="install them by hand, then run the same command again",
        ) from error


def _kernel() -> None:
    with open("/proc/filesystems") as file:
        known = file.read().split()
    # A kernel with modules loads this one by itself when it is first used, so ask only where it could not.
    if "overlay" not in known and run(["modprobe", "overlay"], check=False).returncode != 0:
        raise LabError("this machine's kernel has no overlayfs, on which the hosts' trees stand")
