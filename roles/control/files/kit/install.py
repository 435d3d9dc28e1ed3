"""Installs the agent of Tunnel Whisperer, `tw`, on a machine of one's own, with nothing fetched from anywhere.

    python3 install.py                  as root: for the machine, in /opt/tw, with a service for each connection
                                        as anybody else: for oneself, in ~/.local
    python3 install.py --remove         takes it away again; connections and their keys stay

It comes in an archive with the wheels, Xray and a list of their hashes. Running it again, or a newer one's, is fine.
"""

from __future__ import annotations

import argparse
import grp
import hashlib
import json
import os
import platform
import pwd
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import durable
import offline_release

HERE = Path(__file__).resolve().parent
UNIT = Path("/etc/systemd/system/tw-connect@.service")
BY_ANSIBLE = (Path("/etc/systemd/system/tw-serve.service"), Path("/etc/tw/connect.noted.d"))
"""What only the collection installs: such a machine is looked after already."""


class InstallError(Exception):
    """It cannot be installed; the message says why and what to do."""


@dataclass(frozen=True)
class Layout:
    """Where things go."""

    releases: Path
    current: Path
    xray: Path
    commands: tuple[Path, ...]


def layout(*, system: bool, home: Path) -> Layout:
    """Return the places for the machine, or for one person."""
    if system:
        top = Path("/opt/tw")
        return Layout(top / "releases", top / "current", top / "bin/xray", (Path("/usr/local/bin/tw"),))
    top = home / ".local/share/tunnel-whisperer"
    commands = (top / "bin/tw", home / ".local/bin/tw")
    return Layout(top / "agent", top / "agent/current", top / "bin/xray", commands)


def choose(manifest: dict[str, Any], python_version: str, machine: str) -> dict[str, Any]:
    """Return the wheels for this Python; raises InstallError."""
    if machine != manifest["architecture"]:
        raise InstallError(f"this kit is for {manifest['architecture']}, and this machine is {machine}")
    wheels: dict[str, Any] | None = manifest["wheels"].get(python_version)
    if wheels is None:
        versions = sorted(manifest["wheels"])
        there, other = ", ".join(versions), f"python{versions[0]} install.py"
        raise InstallError(
            f"this kit is for Python {there}, and this is {python_version}; run it with another: {other}"
        )
    return wheels


def install(where: Layout, manifest: dict[str, Any], *, system: bool) -> None:
    """Install release, Xray and commands; raises InstallError, with what was in use still in use."""
    version = ".".join(map(str, sys.version_info[:2]))
    wheels = choose(manifest, version, platform.machine())
    folder = where.releases / wheels["release"]
    if not offline_release.complete(str(folder)):
        archive = offline_release.Archive(str(HERE / wheels["file"]), wheels["sha256"], manifest["version"])
        try:
            offline_release.install(str(folder), archive, sys.executable, version)
        except offline_release.ReleaseError as error:
            raise InstallError(f"{error} (on Debian and Ubuntu the package python3-venv may be missing)") from error
    _install_xray(where.xray, manifest["xray"])
    durable.point(str(where.current), os.path.relpath(folder, where.current.parent))
    for command in where.commands:
        if command.exists() and not command.is_symlink():
            raise InstallError(f"{command} is there already and not ours; move it away")
        command.parent.mkdir(parents=True, exist_ok=True)
        durable.point(str(command), str(where.current / "bin/tw"))
    if system:
        _set_up_system()


def _install_xray(place: Path, wanted: dict[str, str]) -> None:
    source = HERE / wanted["file"]
    content = source.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != wanted["sha256"]:
        raise InstallError(f"{source} has SHA-256 {found}, not {wanted['sha256']}: get the kit once more")
    place.parent.mkdir(parents=True, exist_ok=True)
    part = place.with_name(".xray.part")
    part.write_bytes(content)
    part.chmod(0o755)
    part.rename(place)


def _set_up_system() -> None:
    """Have the user the services run as, their folders, and the unit."""
    try:
        pwd.getpwnam("tw")
    except KeyError:
        _call("useradd", "--system", "--user-group", "--home-dir", "/var/lib/tw", "--shell", "/usr/sbin/nologin", "tw")
    group = grp.getgrnam("tw").gr_gid
    for place, owner in (("/etc/tw", 0), ("/var/lib/tw", pwd.getpwnam("tw").pw_uid)):
        os.makedirs(place, mode=0o750, exist_ok=True)
        os.chown(place, owner, group)
    if Path("/run/systemd/system").is_dir():
        part = UNIT.with_name(f".{UNIT.name}.part")
        shutil.copyfile(HERE / UNIT.name, part)
        part.chmod(0o644)
        part.rename(UNIT)
        _call("systemctl", "daemon-reload")


def remove(where: Layout, *, system: bool) -> None:
    """Take away what `install` brought; connections and their keys stay."""
    if system and UNIT.exists():
        _call("systemctl", "disable", "--now", "tw-connect@*.service", check=False)
        UNIT.unlink()
        _call("systemctl", "daemon-reload")
    for link in (*where.commands, where.current):
        if link.is_symlink():
            link.unlink()
    where.xray.unlink(missing_ok=True)
    shutil.rmtree(where.releases, ignore_errors=True)


def _call(*argv: str, check: bool = True) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise InstallError(f"{' '.join(argv)} failed: {done.stderr.strip() or done.stdout.strip()}")


def main() -> int:
    """Be the program; returns its exit code."""
    about, _blank, more = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        description=about, epilog=more, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--remove", action="store_true", help="take it away again")
    given = parser.parse_args()
    system = os.geteuid() == 0
    where = layout(system=system, home=Path.home())
    try:
        if sys.version_info < (3, 11):
            raise InstallError(f"Python 3.11 or newer is needed, and {sys.executable} is {platform.python_version()}")
        if system and any(place.exists() for place in BY_ANSIBLE):
            raise InstallError("this machine is looked after by Ansible (collection tunnel_whisperer.tw) already")
        if given.remove:
            remove(where, system=system)
            print("tw: removed; connections and their keys stay")
            return 0
        install(where, json.loads((HERE / "manifest.json").read_text()), system=system)
    except (InstallError, OSError) as error:
        print(f"install: {error}", file=sys.stderr)
        return 1
    command = where.commands[-1]
    on_path = str(command.parent) in os.environ.get("PATH", "").split(os.pathsep)
    print(f"tw is installed: {command}" + ("" if on_path else f" (put {command.parent} into PATH)"))
    print("next: tw import FILE, with the file you were given")
    return 0


if __name__ == "__main__":
    sys.exit(main())
