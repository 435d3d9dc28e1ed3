"""`tw import`: a bundle becomes a context of this host."""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from tunnel_whisperer import age, bundle, enrolment, importing, places, services
from tunnel_whisperer.cli import asking
from tunnel_whisperer.cli.parameters import as_json, dry_run, examples, tell
from tunnel_whisperer.config import Bridge, load_connect
from tunnel_whisperer.errors import ConfigError
from tunnel_whisperer.identity import read_private
from tunnel_whisperer.places import Context
from tunnel_whisperer.ports import place_of
from tunnel_whisperer.provision.bundles import find_xray


@click.command(
    "import",
    epilog=examples(
        "tw import alice.age",
        "tw import --as office --passphrase-file secret.txt alice.age",
        "tw import --identity ~/.ssh/id_ed25519 alice.age",
    ),
)
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--as", "name", metavar="NAME", help="Name the context so.")
@click.option("--passphrase-file", type=click.Path(path_type=Path), help="Take the passphrase from its first line.")
@click.option(
    "--identity", "keys", multiple=True, type=click.Path(path_type=Path), help="The private key it is sealed to."
)
@click.option("--replace", is_flag=True, help="Replace a context of this name that an earlier import made.")
@dry_run
@as_json
def command(
    file: Path,
    name: str | None,
    passphrase_file: Path | None,
    keys: tuple[Path, ...],
    replace: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Set up a context from the bundle in FILE ('-' reads standard input).

    A bundle is protected by a passphrase, which is asked for, or by a key of yours. As root the context is the
    system's, else it is your own.
    """
    where = "standard input" if str(file) == "-" else str(file)
    found = _unseal(_read(file, where), where, passphrase_file, keys)
    context = Context(found.context if name is None else name, places.places()[0])
    installed, changes = importing.bring_in(
        found,
        context.place,
        context.name,
        where=where,
        now=datetime.now(UTC),
        xray=find_xray(),
        exchange=enrolment.over_link,
        replace_it=replace,
        pretend=dry_run,
    )
    bridges = installed.bridges if dry_run else load_connect(context.file).bridges
    if as_json:
        click.echo(json.dumps(_as_data(context, installed, bridges, bool(changes)), indent=1))
    elif dry_run:
        click.echo(f"would {'enrol' if found.kind == bundle.ENROLMENT else 'set up'} {_title(context, installed)}")
        tell(changes)
    else:
        _print(context, installed, bridges)


def _read(file: Path, where: str) -> bytes:
    """Read one byte more than a bundle may have, at most."""
    if str(file) == "-":
        return sys.stdin.buffer.read(age.LARGEST + 1)
    try:
        with file.open("rb") as stream:
            return stream.read(age.LARGEST + 1)
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", where=where) from None


def _unseal(data: bytes, where: str, passphrase_file: Path | None, keys: tuple[Path, ...]) -> bundle.Bundle:
    identities = [read_private(path) for path in keys]
    passphrase = None
    if passphrase_file or (not keys and age.lock_of(data, where=where) == "passphrase"):
        passphrase = asking.passphrase(passphrase_file, f"passphrase of {where}")
    return bundle.unseal(data, passphrase=passphrase, identities=identities, where=where)


def _title(context: Context, installed: bundle.Bundle) -> str:
    return f"context {context.name}: {installed.user} at {installed.tenant}, relay {installed.relay.host}"


def _print(context: Context, installed: bundle.Bundle, bridges: tuple[Bridge, ...]) -> None:
    click.echo(_title(context, installed))
    for bridge in bridges:
        click.echo(f"  bridge {bridge.name}: {place_of(bridge)} -> {bridge.host}:{bridge.port}")
    if not find_xray().is_file():
        click.echo(f"tw: there is no Xray here yet; it belongs at {find_xray()}", err=True)
    click.echo(f"now type: {services.how_to_run(context)}")


def _as_data(context: Context, installed: bundle.Bundle, bridges: tuple[Bridge, ...], changed: bool) -> dict[str, Any]:
    return {
        "context": context.name,
        "place": context.place.kind,
        "path": str(context.directory),
        "tenant": installed.tenant,
        "user": installed.user,
        "relay": f"{installed.relay.host}:{installed.relay.port}",
        "bridges": [
            {"name": bridge.name, "local": place_of(bridge), "target": f"{bridge.host}:{bridge.port}"}
            for bridge in bridges
        ],
        "changed": changed,
        "next": services.how_to_run(context),
    }
