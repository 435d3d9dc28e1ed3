"""What `tw user` and `tw app` have in common: how orders are carried out, told, and written to files."""

import difflib
import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from tunnel_whisperer.cli.parameters import as_json, dry_run
from tunnel_whisperer.config import DEFAULT_SERVE
from tunnel_whisperer.desk import Desk, Done, Orders
from tunnel_whisperer.errors import ConfigError, TwError
from tunnel_whisperer.provision.sealing import Sealed
from tunnel_whisperer.users.model import UserSet

F = TypeVar("F", bound=Callable[..., Any])

config_option = click.option("--config", type=click.Path(path_type=Path), default=DEFAULT_SERVE, hidden=True)
yes_option = click.option("--yes", is_flag=True, help="Do not ask first.")


class Known(click.ParamType[str]):
    """The name of something at the server on this host; the shell completes those that are there."""

    def __init__(self, name: str, names: Callable[[UserSet], Iterable[str]]) -> None:
        """`names` tells which there are."""
        self.name = name
        self._names = names

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return those whose names begin so."""
        try:
            names = sorted(self._names(Desk.here().users()))
        except (TwError, PermissionError):
            return []
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]


USER = Known("name", lambda users: users)
APP = Known("app", lambda users: users.apps)


def options(*each: Callable[[F], F]) -> Callable[[F], F]:
    """Join several options into one decorator, shown in this order."""

    def add(function: F) -> F:
        for option in reversed(each):
            function = option(function)
        return function

    return add


changes = options(config_option, dry_run, as_json)
"""What every command takes that changes something."""


def utcnow() -> datetime:
    """Return the time."""
    return datetime.now(UTC)


def carry_out(desk: Desk, orders: Orders, *, dry_run: bool, as_json: bool, out: Path | None = None) -> None:
    """Carry out orders, write the files that were made, and tell."""
    done = desk.carry_out(orders, utcnow(), dry_run=dry_run, out=out)
    if as_json:
        click.echo(json.dumps(done.as_data() | {"dry_run": dry_run}, indent=1))
        return
    for line in _lines(done, dry_run=dry_run):
        click.echo(line)
    for name, path in done.files.items():
        click.echo(_handed(name, path, done.sealed[name]))


def warn(lines: Iterable[str]) -> None:
    """Tell what the person should know, besides the result."""
    for line in lines:
        click.echo(f"tw: {line}", err=True)


def mapping(pairs: Iterable[str], option: str) -> dict[str, str]:
    """Read `5432:15432` pairs; raises ConfigError."""
    found = {}
    for pair in pairs:
        there, colon, here = pair.rpartition(":")
        if not colon or not there or not here:
            raise ConfigError(f"{pair!r} is no pair; accepted: PORT:LOCAL_PORT", where=option)
        found[there] = here
    return found


def _lines(done: Done, *, dry_run: bool) -> Iterable[str]:
    if not done.changed:
        yield "nothing changes" if dry_run else "nothing changed"
        return
    if dry_run:
        yield from difflib.unified_diff(
            done.before.splitlines(), done.after.splitlines(), "before", "after", lineterm="", n=99
        )
        return
    for name, one in done.actions.items():
        if one["changed"]:
            yield f"{name}: {one['action']} ({'; '.join(one['reasons'])})"
    if not any(one["changed"] for one in done.actions.values()):
        yield "changed"


def _handed(name: str, path: Path, sealed: Sealed) -> str:
    opened = (
        "by the passphrase, which goes another way" if sealed.lock == "passphrase" else "by the key it is sealed to"
    )
    how = "tw import" if sealed.lock == "passphrase" else "tw import --identity THEIR_KEY"
    return f"{path}: for {name}, opened {opened}, until {sealed.until:%Y-%m-%d %H:%M} UTC; there: {how} {path.name}"
