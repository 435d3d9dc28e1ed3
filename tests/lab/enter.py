"""Runs a command as root inside a booted host: ``python -I enter.py PID COMMAND…``, PID being the host's init.

Why not ``nsenter``: it stops itself when its child is stopped, as a system that shuts down does to all its processes,
and never goes on; and killing it leaves its child behind. Here the child ends with its parent, whatever ended that.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

NAMESPACES = ("cgroup", "ipc", "uts", "net", "pid", "mnt")
PR_SET_PDEATHSIG = 1
ENVIRONMENT = {
    "HOME": "/root",
    "USER": "root",
    "LOGNAME": "root",
    "SHELL": "/bin/bash",
    "LANG": "C.UTF-8",
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
}
libc = ctypes.CDLL(None, use_errno=True)


def enter(pid: int) -> None:
    """Move this process into all namespaces of ``pid`` (for the PID namespace: its children to come)."""
    root = os.open(f"/proc/{pid}/root", os.O_RDONLY | os.O_DIRECTORY)
    handles = [os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY) for name in NAMESPACES]
    for handle in handles:
        if libc.setns(handle, 0) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        os.close(handle)
    os.fchdir(root)
    os.chroot(".")
    os.close(root)
    os.chdir("/root")


def command(argv: list[str], environment: dict[str, str]) -> None:
    """Become the command, or end with 127. Modules cannot be imported any more: the files are the host's."""
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    folders = [""] if "/" in argv[0] else [f"{folder}/" for folder in environment["PATH"].split(":")]
    reason = f"{argv[0]}: no such command in this host\n"
    for folder in folders:
        try:
            os.execve(f"{folder}{argv[0]}", argv, environment)
        except FileNotFoundError:
            continue
        except OSError as error:
            reason = f"{folder}{argv[0]}: {error.strerror}\n"
    os.write(2, reason.encode())
    os._exit(127)


def main() -> int:
    """Enter, run the command as a child (only a child is in the PID namespace), pass signals on, return its status."""
    pid, argv = int(sys.argv[1]), sys.argv[2:]
    terminal = os.environ.get("TERM", "dumb")
    try:
        enter(pid)
    except OSError as error:
        print(f"lab: the host went away: {error.strerror}", file=sys.stderr)
        return 125
    child = os.fork()
    if child == 0:
        command(argv, {**ENVIRONMENT, "TERM": terminal})
    # A terminal's Ctrl-C reaches the child by itself, and the child decides.
    for number in (signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda received, _frame: os.kill(child, received))
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
