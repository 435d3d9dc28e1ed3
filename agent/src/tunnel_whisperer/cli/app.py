"""`tw app`: the apps of the server on this host, which are named lists of ports."""

import json
from pathlib import Path
from typing import Any

import click

from tunnel_whisperer import desk
from tunnel_whisperer.cli import asking, orders
from tunnel_whisperer.cli.orders import APP, changes, config_option, options, yes_option
from tunnel_whisperer.cli.parameters import as_json, examples
from tunnel_whisperer.desk import Desk, Orders
from tunnel_whisperer.errors import ConfigError
from tunnel_whisperer.provision.overview import tell_apps

_app_options = options(
    click.option("--port", "ports", multiple=True, help="A port of the app; once for each."),
    click.option("--host", help="Another host behind the server; one of its target_hosts."),
    click.option("--local-port", "local_ports", multiple=True, metavar="PORT:LOCAL", help="Where it appears there."),
    click.option("--description", help="What it is, for people."),
)


@click.group("app", epilog=examples("tw app list", "tw app add postgres --port 5432"))
def command() -> None:
    """Show, add, edit and remove apps. Users who have an app follow it at once. It takes root."""


@command.command("list", epilog=examples("tw app list", "tw app list --json"))
@config_option
@as_json
def list_command(config: Path, as_json: bool) -> None:
    """List the apps, with their ports and who has them."""
    told = tell_apps(Desk.here(config).users())
    if as_json:
        click.echo(json.dumps({"apps": told}, indent=1))
        return
    if not told:
        click.echo("there are no apps yet (tw app add NAME --port PORT)")
    width = max(map(len, told), default=0)
    for name, one in told.items():
        about = f"  {one['description']}" if one["description"] else ""
        click.echo(f"{name:<{width}}  {', '.join(one['targets'])}  {len(one['users'])} users{about}  ({one['origin']})")


@command.command(epilog=examples("tw app show postgres"))
@click.argument("name", type=APP)
@config_option
@as_json
def show(name: str, config: Path, as_json: bool) -> None:
    """Show an app."""
    here = Desk.here(config)
    here.app(name)
    told = tell_apps(here.users())[name]
    if as_json:
        click.echo(json.dumps({name: told}, indent=1))
        return
    click.echo(f"{name}: {', '.join(told['targets'])}")
    for key in ("description", "local_ports", "users", "origin"):
        value = told[key]
        text = ", ".join(f"{there} at {here}" for there, here in value.items()) if isinstance(value, dict) else value
        if value:
            click.echo(f"  {key.replace('_', ' '):<12} {', '.join(text) if isinstance(text, list) else text}")


@command.command(epilog=examples("tw app add postgres --port 5432 --local-port 5432:15432 --description 'The orders'"))
@click.argument("name")
@_app_options
@changes
def add(name: str, config: Path, dry_run: bool, as_json: bool, **given: Any) -> None:
    """Add an app NAME."""
    here = Desk.here(config)
    if name in here.users().apps:
        raise ConfigError(f"there is an app {name!r} already", hint="tw app edit changes it")
    orders.carry_out(here, Orders(apps={name: _fields({}, given)}), dry_run=dry_run, as_json=as_json)


@command.command(epilog=examples("tw app edit postgres --port 5432 --port 5433"))
@click.argument("name", type=APP)
@_app_options
@changes
def edit(name: str, config: Path, dry_run: bool, as_json: bool, **given: Any) -> None:
    """Change an app; what is not said stays. Whoever has it follows at once, open connections too."""
    here = Desk.here(config)
    app = here.app(name)
    orders.warn(desk.warnings(app))
    wanted = Orders(apps={name: _fields(app.as_data(), given)})
    orders.carry_out(here, wanted, dry_run=dry_run, as_json=as_json)


@command.command(epilog=examples("tw app remove postgres"))
@click.argument("name", type=APP)
@yes_option
@changes
def remove(name: str, config: Path, yes: bool, dry_run: bool, as_json: bool) -> None:
    """Remove an app that nobody has any more."""
    here = Desk.here(config)
    orders.warn(desk.warnings(here.app(name)))
    if not dry_run:
        asking.confirm(f"Remove app {name} of tenant {here.config.tenant}?", yes=yes)
    orders.carry_out(here, Orders(drop_apps=frozenset({name})), dry_run=dry_run, as_json=as_json)


def _fields(fields: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Put what was said over what there is."""
    if given["ports"]:
        fields["ports"] = list(given["ports"])
        kept = {there: here for there, here in fields.get("local_ports", {}).items() if there in given["ports"]}
        fields["local_ports"] = kept
    if given["host"] is not None:
        fields["host"] = given["host"]
    if given["local_ports"]:
        fields["local_ports"] = orders.mapping(given["local_ports"], "--local-port")
    if given["description"] is not None:
        fields["description"] = given["description"]
    return fields
