"""What `tw user` and `tw app` have in common: how orders are carried out, told, and written to files."""

import difflib
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from tunnel_whisperer.config import DEFAULT_SERVE
from tunnel_whisperer.desk import Desk, Done, Orders
from tunnel_whisperer.errors import ConfigError, TwError
from tunnel_whisperer.files import Transaction
from tunnel_whisperer.provision.sealing import Sealed

config_option = click.option("--config", type=click.Path(path_type=Path), default=DEFAULT_SERVE, hidden=True)
yes_option = click.option("--yes", is_flag=True, help="Do not ask first.")


class UserName(click.ParamType[str]):
    """The name of a user of the server on this host; the shell completes those that are there."""

    name = "name"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the users whose names begin so."""
        try:
            names = sorted(Desk.here().users())
        except (TwError, PermissionError):
            return []
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]


class AppName(click.ParamType[str]):
    """The name of an app of the server on this host; the shell completes those that are there."""

    name = "app"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the apps whose names begin so."""
        try:
            names = sorted(Desk.here().users().apps)
        except (TwError, PermissionError):
            return []
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]


USER = UserName()
APP = AppName()


def utcnow() -> datetime:
    """Return the time."""
    return datetime.now(UTC)


def carry_out(desk: Desk, orders: Orders, *, dry_run: bool, as_json: bool, out: Path | None = None) -> None:
    """Carry out orders, write the files that were made, and tell."""
    if out is not None and not dry_run and out.exists():
        raise ConfigError("is there already", where=str(out), hint="--out FILE names another")
    done = desk.carry_out(orders, utcnow(), dry_run=dry_run)
    files = {} if dry_run else {name: _write(desk, name, one, out) for name, one in done.sealed.items()}
    if as_json:
        data = done.as_data() | {"files": {name: str(path) for name, path in files.items()}, "dry_run": dry_run}
        click.echo(json.dumps(data, indent=1))
        return
    for line in _lines(done, dry_run=dry_run):
        click.echo(line)
    for name, path in files.items():
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


def _write(desk: Desk, name: str, sealed: Sealed, out: Path | None) -> Path:
    path = out or Path(f"{desk.config.tenant}-{name}.age")
    assert sealed.content is not None
    with Transaction() as transaction:
        transaction.write(path.parent.resolve() / path.name, sealed.content, mode=0o600, secret=True)
        transaction.commit()
    return path


def _handed(name: str, path: Path, sealed: Sealed) -> str:
    opened = (
        "by the passphrase, which goes another way" if sealed.lock == "passphrase" else "by the key it is sealed to"
    )
    how = "tw import" if sealed.lock == "passphrase" else "tw import --identity THEIR_KEY"
    return f"{path}: for {name}, opened {opened}, until {sealed.until:%Y-%m-%d %H:%M} UTC; there: {how} {path.name}"
