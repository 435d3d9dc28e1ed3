"""A process that seals or opens one age file with a passphrase.

Its argument is `encrypt` or `decrypt`. It takes the passphrase, as a line of JSON, and the content on standard input,
and gives the result on standard output.
"""

import contextlib
import json
import sys
from pathlib import Path
from typing import Literal

import pyrage

Operation = Literal["encrypt", "decrypt"]

REFUSED = 3
"""Exit code: the library said no; standard error has its words."""


def request(passphrase: str, content: bytes) -> bytes:
    """Build what the process reads."""
    return json.dumps(passphrase).encode() + b"\n" + content


def main() -> int:
    """Do the work that the command line and standard input ask for; return the exit code."""
    with contextlib.suppress(OSError):  # should memory run out, then this process is the one to go
        Path("/proc/self/oom_score_adj").write_text("1000")
    line, _, content = sys.stdin.buffer.read().partition(b"\n")
    work = pyrage.passphrase.encrypt if sys.argv[1] == "encrypt" else pyrage.passphrase.decrypt
    try:
        result = work(content, json.loads(line))
    except (pyrage.EncryptError, pyrage.DecryptError) as error:
        sys.stderr.write(str(error))
        return REFUSED
    sys.stdout.buffer.write(result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
