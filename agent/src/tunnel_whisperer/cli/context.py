"""`tw context`: the contexts of this host, and what is to become of them."""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import click

from tunnel_whisperer import bundle, context_info, places, services
from tunnel_whisperer.cli import asking
from tunnel_whisperer.cli.parameters import CONTEXT, as_json, dry_run, examples, tell
from tunnel_whisperer.errors import ConfigError
from tunnel_whisperer.files import Transaction
from tunnel_whisperer.provision import bundles, keeping

_FORCE = "Do it although its daemon runs."


@click.group("context", epilog=examples("tw context list", "tw context use office", "tw connect"))
def command() -> None:
    """Show the contexts of this host, choose, rename, delete and export them."""


@command.command("list", epilog=examples("tw context list", "tw context list --json"))
@as_json
def list_command(as_json: bool) -> None:
    """List the system's contexts and your own; a star marks the one that is taken where none is named."""
    found = context_info.listed()
    if as_json:
        click.echo(json.dumps({"contexts": found}, indent=1))
        return
    for place in places.places():
        if place.closed:
            click.echo(f"tw: only root and the group tw may look into {place.contexts}", err=True)
    if not found:
        click.echo("no context has been set up here (tw import FILE sets one up)")
        return
    rows = [
        (
            "*" if one["current"] else " ",
            one["name"],
            one["place"],
            one["state"],
            one["error"] or f"{one['user']} at {one['tenant']}, relay {one['relay']}, {one['origin']}",
        )
        for one in found
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for row in rows:
        click.echo("  ".join([*(text.ljust(width) for text, width in zip(row, widths, strict=False)), row[4]]))


@command.command(epilog=examples("tw context show", "tw context show office --json"))
@click.argument("context", type=CONTEXT, required=False)
@as_json
def show(context: str | None, as_json: bool) -> int:
    """Show a context, the current one where none is named: where it leads, and where its bridges listen."""
    one = context_info.described(places.find(context))
    if as_json:
        click.echo(json.dumps(one, indent=1))
    else:
        click.echo(f"context {one['name']}: {one['state']}" + (", current" if one["current"] else ""))
        click.echo(f"  folder       {one['path']} ({one['place']})")
        for line in _content_lines(one):
            click.echo(line)
    return 2 if one["error"] else 0


def _content_lines(one: dict[str, object]) -> list[str]:
    if one["error"]:
        return [f"  {one['error']}"]
    bridges = one["bridges"]
    assert isinstance(bridges, list)
    return [
        f"  made by      {one['origin']}",
        f"  user         {one['user']} at {one['tenant']}",
        f"  relay        {one['relay']}",
        f"  certificate  until {str(one['certificate_until'])[:10]}",
        *(
            f"  bridge       {bridge['name']}: {bridge['local']} -> {bridge['target']}"
            + ("" if bridge["local"] == bridge["configured"] else f" (instead of {bridge['configured']}: tw port)")
            for bridge in bridges
        ),
    ]


@command.command(epilog=examples("tw context use office"))
@click.argument("context", type=CONTEXT)
@dry_run
@as_json
def use(context: str, dry_run: bool, as_json: bool) -> None:
    """Have CONTEXT taken wherever none is named."""
    found = places.find(context)
    with Transaction() as transaction:
        changed = keeping.use(transaction, found, places.places())
        _finish(
            transaction, dry_run, as_json, f"{found.name} is the current context", context=found.name, changed=changed
        )


@command.command(epilog=examples("tw context rename acme office"))
@click.argument("context", type=CONTEXT)
@click.argument("name")
@click.option("--force", is_flag=True, help=_FORCE)
@dry_run
@as_json
def rename(context: str, name: str, force: bool, dry_run: bool, as_json: bool) -> None:
    """Give CONTEXT the name NAME."""
    found = places.find(context)
    was_enabled = services.enabled(found)
    if not force:
        keeping.check_stopped(found, "rename")
    with Transaction() as transaction:
        renamed = keeping.rename(transaction, found, name, places.places())
        _finish(transaction, dry_run, as_json, f"context {found.name} is called {name} now", context=name, changed=True)
    if was_enabled:
        click.echo(
            f"tw: {services.unit_of(found)} is still enabled: {services.how_to_stop(found)}, then "
            f"{services.how_to_run(renamed)}",
            err=True,
        )


@command.command(epilog=examples("tw context delete office", "tw context delete office --yes"))
@click.argument("context", type=CONTEXT)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--force", is_flag=True, help=_FORCE)
@dry_run
@as_json
def delete(context: str, yes: bool, force: bool, dry_run: bool, as_json: bool) -> None:
    """Delete CONTEXT with its keys; the bundle it came from may set it up again, one for enrolment does not."""
    found = places.find(context)
    was_enabled = services.enabled(found)
    if not force:
        keeping.check_stopped(found, "delete")
    with Transaction() as transaction:
        keeping.delete(transaction, found, places.places())
        if not dry_run:
            asking.confirm(f"Delete context {found.name} with its keys ({found.directory})?", yes=yes)
        _finish(transaction, dry_run, as_json, f"context {found.name} is deleted", context=found.name, changed=True)
    if was_enabled:
        click.echo(f"tw: {services.unit_of(found)} is still enabled: {services.how_to_stop(found)}", err=True)


def _finish(transaction: Transaction, dry_run: bool, as_json: bool, done: str, *, context: str, changed: bool) -> None:
    if not dry_run:
        transaction.commit()
    if as_json:
        paths = [str(change.path) for change in transaction.changes]
        click.echo(json.dumps({"context": context, "changed": changed, "paths": paths}, indent=1))
    elif dry_run:
        tell(transaction.changes)
    else:
        click.echo(done)


@command.command(
    epilog=examples(
        "tw context export office",
        "tw context export office -o laptop.age --passphrase-file secret.txt",
        "tw context export office --to 'ssh-ed25519 AAAA...'",
    )
)
@click.argument("context", type=CONTEXT, required=False)
@click.option("-o", "--output", type=click.Path(path_type=Path, allow_dash=True), help="The file; usually CONTEXT.age.")
@click.option("--passphrase-file", type=click.Path(path_type=Path), help="Take the passphrase from its first line.")
@click.option("--to", "recipients", multiple=True, metavar="KEY", help="Seal to this age or SSH public key instead.")
@click.option("--force", is_flag=True, help="Overwrite a file that is there.")
@dry_run
@as_json
def export(
    context: str | None,
    output: Path | None,
    passphrase_file: Path | None,
    recipients: tuple[str, ...],
    force: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Write a bundle of CONTEXT, for another machine of the same user.

    It holds the context's own keys, sealed to a passphrase, which is asked for, or to public keys.
    """
    if passphrase_file and recipients:
        raise ConfigError("a bundle is sealed to a passphrase or to public keys", hint="give one of the options")
    found = places.find(context)
    made = bundles.export(found, now=datetime.now(UTC))
    path = output or Path(f"{found.name}.age")
    to_stdout = str(path) == "-"
    target = path.parent.resolve() / path.name
    if not to_stdout and not force and target.exists():
        raise ConfigError("is there already", where=str(path), hint="--force overwrites it, -o FILE names another")
    if dry_run:
        click.echo(f"would write {path}")
        return
    passphrase = None if recipients else asking.passphrase(passphrase_file, "passphrase for the bundle", new=True)
    sealed = bundle.seal(made, passphrase=passphrase, recipients=recipients)
    if to_stdout:
        sys.stdout.buffer.write(sealed)
        return
    with Transaction() as transaction:
        transaction.write(target, sealed, mode=0o600, secret=True)
        transaction.commit()
    if as_json:
        click.echo(json.dumps({"context": found.name, "path": str(path), "bytes": len(sealed)}, indent=1))
    else:
        click.echo(f"{path}: {made.user} at {made.tenant}; on the other machine: tw import {path.name}")
