"""What commands ask of the person at the terminal: passphrases, and a yes before something is destroyed."""

import contextlib
import os
import sys
from pathlib import Path

import click

from tunnel_whisperer.errors import ConfigError
from tunnel_whisperer.identity import read_private


def passphrase(file: Path | None, what: str, *, new: bool = False) -> str:
    """Return a passphrase: a file's first line, else asked for without echo, a new one twice. Raises ConfigError."""
    if file is not None:
        text = read_private(file).decode("utf-8", "replace").partition("\n")[0].rstrip("\r")
        if not text:
            raise ConfigError("has no passphrase in its first line", where=str(file))
        return text
    if not _has_terminal():
        raise ConfigError(f"no terminal to ask for the {what} at", hint="give it by --passphrase-file FILE")
    answer: str = click.prompt(what.capitalize(), hide_input=True, confirmation_prompt=new, err=True)
    return answer


def confirm(question: str, *, yes: bool) -> None:
    """Go on only with a yes: by option, or at the terminal. Raises ConfigError, or Abort after a no."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise ConfigError(f"{question} There is no terminal to ask at", hint="say yes beforehand: --yes")
    click.confirm(question, abort=True, err=True)


def _has_terminal() -> bool:
    with contextlib.suppress(OSError):
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
        return True
    return False
