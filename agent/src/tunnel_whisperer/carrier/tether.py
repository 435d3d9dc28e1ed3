"""Becomes another program, which the kernel kills when our parent ends, however that ends.

Run as a script: `python -I -S tether.py PARENT-PID PROGRAM [ARGUMENT...]`. It is a program of its own because Python
code between fork and exec (`preexec_fn`) may hang or crash in a process with threads, and gRPC has some.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

_PR_SET_PDEATHSIG = 1


def tethered(command: Sequence[str]) -> list[str]:
    """Return the command line that runs `command` tethered to this process; start it from the main thread."""
    return [sys.executable, "-I", "-S", os.path.abspath(__file__), str(os.getpid()), *command]


def main(parent: str, program: str, *arguments: str) -> None:
    """Tie ourselves to the parent and become the program; where it cannot be run, say so and end with code 1."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != int(parent):  # it ended before we asked
        sys.exit(1)
    try:
        os.execv(program, (program, *arguments))
    except OSError as error:
        sys.exit(f"{program}: {error.strerror}")


if __name__ == "__main__":
    main(*sys.argv[1:])
