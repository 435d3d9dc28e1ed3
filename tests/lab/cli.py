"""The lab's command line: ``python -m tests.lab COMMAND``."""

from __future__ import annotations

import argparse
import os
import sys

from tests.lab import demo, lab
from tests.lab.api import Lab
from tests.lab.commands import LabError
from tests.lab.machine import require_root
from tests.lab.paths import ROOT, Place, base_dir
from tests.lab.plan import Shape
from tests.lab.report import Report


def parser() -> argparse.ArgumentParser:
    """Describe the commands and their options."""
    top = argparse.ArgumentParser(prog="python -m tests.lab", description="Real hosts on one machine, in three sites.")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--name", default=os.environ.get("TW_LAB") or "demo", help="which lab (default: demo)")
    shape = argparse.ArgumentParser(add_help=False)
    for what, fewest in (("relays", 1), ("servers", 1), ("clients", 1), ("guests", 0)):
        words = f"how many {what} (default: {fewest}, or as many as the lab has)"
        shape.add_argument(f"--{what}", type=int, help=words)
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("up", parents=[common, shape], help="bring the lab up, or what is missing in it")
    commands.add_parser("down", parents=[common], help="remove the lab and everything it made on this machine")
    commands.add_parser("status", parents=[common], help="say which parts run")
    commands.add_parser("list", help="name the labs that stand")
    commands.add_parser("inventory", parents=[common], help="print the path of the lab's inventory")
    commands.add_parser("demo", parents=[common, shape], help="up, then site.yml, then a query through the bridge")
    shell = commands.add_parser("shell", parents=[common], help="open a shell in a host or namespace")
    shell.add_argument("host", nargs="?", default="client", help="relay, server, client, ctl, outside, client-gate, …")
    execute = commands.add_parser("exec", parents=[common], help="run a command in a host or namespace")
    execute.add_argument("host", help="as for shell; ctl has this checkout's tools and the lab's Ansible settings")
    execute.add_argument("words", nargs=argparse.REMAINDER, metavar="-- COMMAND", help="the command")
    return top


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return the exit status."""
    options = parser().parse_args(arguments)
    try:
        return _dispatch(options)
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nlab: interrupted; 'up' goes on from here, 'down' clears up", file=sys.stderr)
        return 130


def _dispatch(options: argparse.Namespace) -> int:
    if options.command == "list":
        names = sorted(path.parent.name for path in base_dir().glob("*/lab.json"))
        print("\n".join(names) or "no labs")
        return 0
    place = Place.of(options.name)
    report = Report()
    match options.command:
        case "up":
            lab.up(place, _shape(options), report)
            report.say(f"up: '{place.name}' stands; a shell: make lab-shell HOST=client NAME={place.name}")
        case "down":
            lab.down(place, report)
        case "status":
            parts = lab.status(place)
            print("\n".join(f"{part:10} {state}" for part, state in parts.items()))
            return int("off" in parts.values())
        case "inventory":
            lab.load(place)
            print(place.inventory)
        case "demo":
            return demo.demo(place, _shape(options), report)
        case _:
            return _become(options, place)
    return 0


def _shape(options: argparse.Namespace) -> Shape | None:
    """Return the shape asked for, or ``None`` when nothing was said about it."""
    asked = {
        what: n for what in ("relays", "servers", "clients", "guests") if (n := getattr(options, what)) is not None
    }
    return Shape(**asked) if asked else None


def _become(options: argparse.Namespace, place: Place) -> int:
    """Turn this process into the shell or command."""
    require_root("a look inside the lab")
    attached = Lab.attach(place.name)
    if options.command == "shell":
        words = ["/bin/bash", *([] if attached.is_place(options.host) else ["-l"])]
        os.environ.update(debian_chroot=f"{place.name}:{options.host}")  # shown by Debian's prompt
    else:
        words = options.words[1:] if options.words[:1] == ["--"] else options.words
    if not words:
        raise LabError("no command given", hint=f"exec {options.host} -- COMMAND")
    if options.host == "ctl":
        os.environ.update(attached.control_env)
        words = [str(ROOT / "scripts/in-env"), *words]
    argv = attached.argv(options.host, words)
    os.execvp(argv[0], argv)
