"""`tw port`: where bridges listen on this host instead of where their context says."""

import json

import click

from tunnel_whisperer import places, ports
from tunnel_whisperer.cli.parameters import BRIDGE, CONTEXT, as_json, dry_run, examples, tell
from tunnel_whisperer.config import load_connect, read_connect
from tunnel_whisperer.control import SOCKET, ask
from tunnel_whisperer.errors import ConfigError, DaemonUnreachableError
from tunnel_whisperer.files import Transaction
from tunnel_whisperer.places import Context
from tunnel_whisperer.ports import PORTS_FILE, LocalEnds, place_of
from tunnel_whisperer.provision import keeping


@click.group(
    "port", epilog=examples("tw port list", "tw port set office postgres 15432", "tw port unset office postgres")
)
def command() -> None:
    """Choose local ports for bridges; no import and no playbook touches the choice."""


@command.command("list", epilog=examples("tw port list", "tw port list office --json"))
@click.argument("context", type=CONTEXT, required=False)
@as_json
def list_command(context: str | None, as_json: bool) -> None:
    """List the bridges of CONTEXT, where they listen, and where they would without a choice."""
    found = places.find(context)
    usual = {bridge.name: place_of(bridge) for bridge in read_connect(found.file).bridges}
    chosen = ports.load(found.directory / PORTS_FILE)
    listed = [
        {"bridge": bridge.name, "local": place_of(bridge), "usual": usual[bridge.name], "chosen": bridge.name in chosen}
        for bridge in load_connect(found.file).bridges
    ]
    gone = [name for name in chosen if name not in usual]
    if as_json:
        click.echo(json.dumps({"context": found.name, "bridges": listed, "gone": gone}, indent=1))
        return
    for one in listed:
        click.echo(f"{one['bridge']}: {one['local']}" + (f" (usually {one['usual']})" if one["chosen"] else ""))
    for name in gone:
        click.echo(f"{name}: {chosen[name]}, for a bridge that is not there now")


@command.command(
    "set", epilog=examples("tw port set office postgres 15432", "tw port set office postgres 0.0.0.0:15432")
)
@click.argument("context", type=CONTEXT)
@click.argument("bridge", type=BRIDGE)
@click.argument("local", metavar="[ADDRESS:]PORT")
@dry_run
@as_json
def set_command(context: str, bridge: str, local: str, dry_run: bool, as_json: bool) -> None:
    """Let BRIDGE of CONTEXT listen at PORT. Other hosts reach it only where an ADDRESS is given that they reach."""
    found = places.find(context)
    bridges = read_connect(found.file).bridges
    try:
        end = ports.read_end(local)
    except ValueError as error:
        raise ConfigError(str(error), hint="accepted: PORT or ADDRESS:PORT") from None
    if fault := ports.unknown(bridges, {bridge: end}):
        raise ConfigError(fault, where=f"context {found.name}")
    ends = ports.load(found.directory / PORTS_FILE) | {bridge: end}
    moved = [one for one in ports.moved(bridges, ends, where=PORTS_FILE) if one.name == bridge]
    for warning in ports.beyond_loopback(moved):
        click.echo(f"tw: warning: {warning}", err=True)
    _apply(found, ends, dry_run, as_json, f"{bridge}: {place_of(moved[0])}")


@command.command(epilog=examples("tw port unset office postgres"))
@click.argument("context", type=CONTEXT)
@click.argument("bridge", type=BRIDGE)
@dry_run
@as_json
def unset(context: str, bridge: str, dry_run: bool, as_json: bool) -> None:
    """Let BRIDGE of CONTEXT listen where the context says."""
    found = places.find(context)
    ends = ports.load(found.directory / PORTS_FILE)
    if bridge not in ends:
        raise ConfigError(f"nothing was chosen for bridge {bridge!r}", where=f"context {found.name}")
    del ends[bridge]
    usual = [place_of(one) for one in read_connect(found.file).bridges if one.name == bridge]
    _apply(found, ends, dry_run, as_json, f"{bridge}: {usual[0] if usual else 'gone'}")


def _apply(context: Context, ends: LocalEnds, dry_run: bool, as_json: bool, done: str) -> None:
    with Transaction() as transaction:
        keeping.set_ports(transaction, context, ends)
        if not dry_run:
            transaction.commit()
        changes = transaction.changes
    if dry_run and not as_json:
        tell(changes)
        return
    in_force = "nothing was tried" if dry_run else _reload(context)
    if as_json:
        answer = {"context": context.name, "changed": bool(changes), "daemon": in_force}
        click.echo(json.dumps(answer, indent=1))
    else:
        click.echo(f"{done}; {in_force}")


def _reload(context: Context) -> str:
    """Let a daemon that runs follow; say what came of it."""
    try:
        answer = ask(context.runtime_dir / SOCKET, "reload", timeout=30.0)
    except DaemonUnreachableError as error:
        return (
            f"its daemon is {error.message}: in force when it starts" if error.message == "not running" else str(error)
        )
    return f"its daemon was reloaded: {'; '.join(answer['changed']) or 'nothing changed'}"
