"""`tw user`: who may reach what at the server on this host."""

import json
from pathlib import Path
from typing import Any

import click

from tunnel_whisperer import desk
from tunnel_whisperer.cli import asking, orders
from tunnel_whisperer.cli.orders import APP, USER, changes, config_option, options, yes_option
from tunnel_whisperer.cli.parameters import as_json, examples
from tunnel_whisperer.desk import Desk, Orders
from tunnel_whisperer.errors import ConfigError
from tunnel_whisperer.identity import read_public
from tunnel_whisperer.provision.overview import tell_user, tell_users
from tunnel_whisperer.users.grants import SINGLE_SESSION
from tunnel_whisperer.users.times import read_span

_grant_options = options(
    click.option("--app", "apps", type=APP, multiple=True, help="Give this app; once for each."),
    click.option("--port", "ports", multiple=True, help="Give this port, or HOST:PORT; once for each."),
    click.option(
        "--local-port", "local_ports", multiple=True, metavar="PORT:LOCAL", help="Where a port appears there."
    ),
    click.option("--expires", help="A day, a moment (UTC), or a span such as 30d; 'never' takes it away."),
    click.option("--not-before", help="A day or a moment (UTC); 'now' takes it away."),
    click.option("--single-session", type=click.Choice(SINGLE_SESSION), help="One place at a time: who stays?"),
    click.option("--comment", help="A note for yourself."),
)
_bundle_options = options(
    click.option("--to", metavar="KEY", help="Seal the file to this age or SSH public key, not to a passphrase."),
    click.option("--passphrase-file", type=click.Path(path_type=Path), help="Take the passphrase from its first line."),
    click.option("--valid", default="72h", show_default=True, help="So long the file may be used to enrol."),
    click.option(
        "--with-keys", is_flag=True, help="Put lasting keys into the file, instead of having them made there."
    ),
    click.option("--out", type=click.Path(path_type=Path), help="The file; usually TENANT-NAME.age."),
)


@click.group("user", epilog=examples("tw user list", "tw user add dora --app postgres --expires 30d"))
def command() -> None:
    """Show, add, edit and remove the users of the server on this host. It takes root."""


@command.command("list", epilog=examples("tw user list", "tw user list --json"))
@config_option
@as_json
def list_command(config: Path, as_json: bool) -> None:
    """List the users, with what they may reach and how they are."""
    found = Desk.here(config).users()
    told = tell_users(found, orders.utcnow())
    if as_json:
        click.echo(json.dumps({"users": told, "generation": found.generation}, indent=1))
        return
    if not told:
        click.echo("there are no users yet (tw user add NAME --app APP)")
    width = max(map(len, told), default=0)
    for name, one in told.items():
        click.echo(f"{name:<{width}}  {one['state']:<10}  {', '.join(one['targets'])}  ({one['origin']})")


@command.command(epilog=examples("tw user show dora", "tw user show dora --json"))
@click.argument("name", type=USER)
@config_option
@as_json
def show(name: str, config: Path, as_json: bool) -> None:
    """Show a user; no secret is among it."""
    told = tell_user(Desk.here(config).user(name), orders.utcnow())
    if as_json:
        click.echo(json.dumps({name: told}, indent=1))
        return
    click.echo(f"{name}: {told.pop('state')}")
    for key, value in told.items():
        text = ", ".join(map(str, value)) if isinstance(value, list | dict) else str(value)
        if value not in (None, "", [], {}):
            click.echo(f"  {key.replace('_', ' '):<18} {text}")


@command.command(
    epilog=examples(
        "tw user add dora --app postgres --expires 2027-01-31",
        "tw user add dora --app postgres --to 'ssh-ed25519 AAAA...' --out dora.age",
        "tw user add ci --port 8080 --public-key ci.pub --dry-run",
    )
)
@click.argument("name")
@_grant_options
@_bundle_options
@click.option("--public-key", type=click.Path(path_type=Path), help="Admit this SSH key; no file is made then.")
@changes
def add(name: str, public_key: Path | None, config: Path, dry_run: bool, as_json: bool, **given: Any) -> None:
    """Add a user NAME, and make the file by which it gets its credentials.

    The file is sealed to a passphrase, which is asked for, or to a public key. Hand it over; its owner types
    `tw import FILE`, and then `tw connect`.
    """
    here = Desk.here(config)
    if name in here.users():
        raise ConfigError(f"there is a user {name!r} already", hint="tw user edit changes it")
    fields = _grant({}, given)
    passphrases: dict[str, str] = {}
    out: Path | None = None
    if public_key is not None:
        fields["public_key"] = read_public(public_key).decode("utf-8", "replace")
    else:
        fields["bundle"], passphrases = _bundle(name, given, dry_run=dry_run)
        out = given["out"]
    wanted = Orders({name: fields}, passphrases=passphrases)
    orders.carry_out(here, wanted, dry_run=dry_run, as_json=as_json, out=out)


@command.command(
    epilog=examples("tw user edit dora --app wiki --app postgres", "tw user edit dora --expires 12h --dry-run")
)
@click.argument("name", type=USER)
@_grant_options
@changes
def edit(name: str, config: Path, dry_run: bool, as_json: bool, **given: Any) -> None:
    """Change what NAME may reach, and when; what is not said stays. Its open connections follow at once."""
    here = Desk.here(config)
    user = here.user(name)
    orders.warn(desk.warnings(user))
    fields = here.without_strays(_grant(desk.as_wanted(user), given), chosen=bool(given["local_ports"]))
    wanted = Orders({name: fields})
    orders.carry_out(here, wanted, dry_run=dry_run, as_json=as_json)


@command.command(epilog=examples("tw user remove dora", "tw user remove dora --yes"))
@click.argument("name", type=USER)
@yes_option
@changes
def remove(name: str, config: Path, yes: bool, dry_run: bool, as_json: bool) -> None:
    """Remove NAME: it is cut off at once, and its credentials are good for nothing any more."""
    here = Desk.here(config)
    orders.warn(desk.warnings(here.user(name)))
    if not dry_run:
        asking.confirm(f"Remove user {name} of tenant {here.config.tenant}?", yes=yes)
    orders.carry_out(here, Orders({name: {"state": "absent"}}), dry_run=dry_run, as_json=as_json)


@command.command(epilog=examples("tw user export dora", "tw user export dora --valid 24h --yes"))
@click.argument("name", type=USER)
@_bundle_options
@yes_option
@changes
def export(name: str, config: Path, yes: bool, dry_run: bool, as_json: bool, **given: Any) -> None:
    """Make a new file for NAME. It ends the credentials that NAME has now: nobody has a copy of those to export."""
    here = Desk.here(config)
    user = here.user(name)
    orders.warn(desk.warnings(user))
    if not dry_run:
        asking.confirm(f"What {name} connects with now will not serve any more. Go on?", yes=yes)
    bundle, passphrases = _bundle(name, given, dry_run=dry_run)
    fields = {**user.grant.as_data(), "bundle": bundle}
    wanted = Orders({name: fields}, renew=frozenset({name}), passphrases=passphrases)
    orders.carry_out(here, wanted, dry_run=dry_run, as_json=as_json, out=given["out"])


def _grant(fields: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Put what was said over what there is."""
    now = orders.utcnow()
    if given["apps"]:
        fields["apps"] = list(given["apps"])
    if given["ports"]:
        fields["ports"] = list(given["ports"])
    if given["local_ports"]:
        fields["local_ports"] = orders.mapping(given["local_ports"], "--local-port")
    if given["expires"]:
        never = given["expires"] == "never"
        fields["expires"] = None if never else desk.end_of_access(given["expires"], now)
    if given["not_before"]:
        fields["not_before"] = None if given["not_before"] == "now" else given["not_before"]
    if given["single_session"]:
        fields["single_session"] = given["single_session"]
    if given["comment"] is not None:
        fields["comment"] = given["comment"]
    return fields


def _bundle(name: str, given: dict[str, Any], *, dry_run: bool) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the wish for a bundle, and the passphrase that seals it."""
    try:
        hours = int(read_span(given["valid"]).total_seconds() // 3600)
    except ValueError as error:
        raise ConfigError(str(error), where="--valid") from None
    kind = "identity" if given["with_keys"] else "enrolment"
    wish: dict[str, Any] = {"kind": kind, "to": given["to"], "hours": hours}
    if given["to"]:
        if given["passphrase_file"]:
            raise ConfigError("a file is sealed to a key or to a passphrase", hint="give one of the options")
        return wish, {}
    if dry_run and given["passphrase_file"] is None:
        return wish, {name: "of no matter in a dry run"}
    return wish, {name: asking.passphrase(given["passphrase_file"], f"passphrase for {name}'s file", new=True)}
