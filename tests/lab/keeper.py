"""Keeps one part of a lab alive: starts it in its cgroup, and starts it anew when it asks for that (a host's reboot).

Runs as a process of its own, ``python -m tests.lab.keeper SPEC``, detached from whoever brought the lab up. It holds a
lock on the part's pid file for as long as it lives, which is how others see that it does.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TextIO

from tests.lab import cgroups
from tests.lab.commands import LabError, run, wait_until
from tests.lab.paths import ROOT, Place


@dataclass(frozen=True, slots=True)
class Spec:
    """What a keeper keeps: a program, its cgroup and namespace, and the exit status that means "again, please"."""

    part: str
    argv: list[str]
    pid_file: str
    cgroup: str
    namespace: str | None = None
    again_on: int | None = None
    env: dict[str, str] = field(default_factory=dict)


def start(place: Place, spec: Spec) -> None:
    """Start a keeper, detached, unless it already runs; return once it does."""
    pid_file = Path(spec.pid_file)
    if alive(pid_file):
        return
    pid_file.parent.mkdir(parents=True, exist_ok=True)
    log = place.log(spec.part)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        subprocess.run(
            ["setsid", "--fork", sys.executable, "-m", "tests.lab.keeper", json.dumps(asdict(spec))],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            check=True,
        )
    wait_until(lambda: alive(pid_file), 20, f"the keeper of {spec.part} (log: {log})", interval=0.02)


def alive(pid_file: Path) -> bool:
    """Say whether a keeper holds this file."""
    try:
        with pid_file.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def keep(spec: Spec) -> int:
    """Run the program, again and again for as long as it asks for that; return its last status."""
    folders = cgroups.make(spec.cgroup)
    while True:
        # Nothing of an earlier start may be left: not of the last round, nor of a keeper that was killed.
        cgroups.kill(spec.cgroup)
        cgroups.remove(spec.cgroup, itself=False)
        if spec.namespace and spec.again_on is not None:
            # The namespace outlives the host, so what a real reboot forgets has to be forgotten here.
            run(["ip", "netns", "exec", spec.namespace, "nft", "flush", "ruleset"])
        child = subprocess.Popen(
            spec.argv,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **spec.env},
            preexec_fn=partial(cgroups.join, folders),  # noqa: PLW1509 - this process has one thread
        )
        status = child.wait()
        _note(f"{spec.part} ended with status {status}")
        if status != spec.again_on:
            return status


def main(argument: str) -> int:
    """Become the keeper of the part described in ``argument``."""
    spec = Spec(**json.loads(argument))
    with Path(spec.pid_file).open("a") as held:
        if not _take(held):
            return 0
        held.truncate(0)
        held.write(f"{os.getpid()}\n")
        held.flush()
        cgroups.join(cgroups.make(f"{spec.cgroup.partition('/')[0]}/keepers"))
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            return keep(spec)
        except LabError as error:
            _note(str(error))
            return 1


def stop(place: Place, part: str) -> None:
    """End a part and its keeper at once, as by pulling the plug."""
    pid_file = place.pid_file(part)
    if alive(pid_file):
        os.kill(int(pid_file.read_text()), signal.SIGKILL)
        wait_until(lambda: not alive(pid_file), 10, f"the keeper of {part} to end", interval=0.02)
    cgroups.kill(f"{place.cgroup}/{part}")


def _take(file: TextIO) -> bool:
    """Take the lock; whoever looks whether we live holds it for a moment, another keeper for good."""
    for _ in range(50):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.02)
        else:
            return True
    return False


def _note(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} keeper: {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
