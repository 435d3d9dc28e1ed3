"""`tw status`: what the daemons on this host are doing."""

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from tunnel_whisperer import places
from tunnel_whisperer.config import DEFAULT_SERVE
from tunnel_whisperer.errors import DaemonUnreachableError
from tunnel_whisperer.identity import ENROL
from tunnel_whisperer.running import SERVE, Found, find
from tunnel_whisperer.words import count

UP, NOT_UP, NOT_RUNNING = 0, 1, 3


@click.command("status")
@click.option("--json", "as_json", is_flag=True, help="Print everything there is to know, as JSON.")
@click.option("--run", type=click.Path(path_type=Path), hidden=True)
@click.option("--serve", type=click.Path(path_type=Path), default=DEFAULT_SERVE, hidden=True)
@click.option("--contexts", type=click.Path(path_type=Path), hidden=True)
def command(as_json: bool, run: Path | None, serve: Path, contexts: Path | None) -> int:
    """Show the daemons of this host, and your own. The exit code tells: 0 all are up, 1 one is not, 3 none runs."""
    where = places.places()
    if run and contexts:
        where = (replace(places.SYSTEM, run=run, contexts=contexts),)
    found = find(serve, where)
    for place in where:
        if place.closed:
            click.echo(f"tw: only root and the group tw may look into {place.contexts}", err=True)
    if as_json:
        click.echo(json.dumps({"daemons": [_as_data(one) for one in found]}, indent=1))
    elif not found:
        click.echo("nothing runs here, and nothing is set up")
    else:
        click.echo("\n\n".join("\n".join(_lines(one)) for one in found))
    return _exit_code(found)


def _exit_code(found: list[Found]) -> int:
    if not any(one.status for one in found):
        return NOT_RUNNING
    return UP if all(one.status and one.status["state"] == "up" for one in found) else NOT_UP


def _as_data(one: Found) -> dict[str, Any]:
    if one.status is not None:
        return one.status | {"place": one.place}
    state = "not running" if isinstance(one.error, DaemonUnreachableError) else "unknown"
    return {
        "kind": SERVE if one.name == SERVE else "connect",
        "name": one.name,
        "place": one.place,
        "state": state,
        "reason": str(one.error),
    }


def _lines(one: Found) -> Iterator[str]:
    status = one.status
    whose = " (your own)" if one.place == "own" else ""
    if status is None:
        yield f"{one.name}{whose}: {one.error}"
        return
    yield f"{status['kind']} {status['name']}{whose}: {status['state']}, {status['reason']}"
    yield f"  relay    {status['relay']}, tenant {status['tenant']}" + (
        f", user {status['user']}" if "user" in status else ""
    )
    carrier = status["carrier"]
    trouble = f": {carrier['last_error']}" if carrier["last_error"] else ""
    yield f"  carrier  {carrier['state']}{trouble}"
    yield from _certificates(status)
    for link in status["links"]:
        yield f"  link {link['link']}   {_link(link, carries_flows=status['kind'] != SERVE)}"
    yield from _serving(status) if status["kind"] == SERVE else _bridges(status)


def _link(link: dict[str, Any], *, carries_flows: bool) -> str:
    text = f"{link['state']} for {_span(link['seconds'])}, {link['reason']}"
    if link["round_trip_ms"] is not None:
        text += f", round trip {link['round_trip_ms']:.0f} ms"
    if link["port"] is not None and carries_flows:
        text += f", {count(link['flows'], 'flow')}, {_bytes(link['received'])} in, {_bytes(link['sent'])} out"
    return text


def _certificates(status: dict[str, Any]) -> Iterator[str]:
    """Tell of our certificate, and of the authority's where it is ours to look after."""
    for label, found in (("identity", status.get("certificate")), ("issuer", status.get("authority"))):
        if found is None:
            continue
        text = f"certificate until {found['until'][:10]}, {found['days_left']:.0f} days left"
        if found["state"] == "ended":
            text = f"certificate ended on {found['until'][:10]}; {ENROL}"
        elif found["state"] == "low":
            error = found.get("renewal", {}).get("error")
            text += f"; not renewed: {error}" if error else "; not renewed yet"
        yield f"  {label:<8} {text}"


def _bridges(status: dict[str, Any]) -> Iterator[str]:
    width = max((len(bridge["local"]) for bridge in status["bridges"]), default=0)
    for bridge in status["bridges"]:
        text = f"  bridge   {bridge['local']:<{width}} -> {bridge['target']} ({bridge['name']})  {bridge['state']}"
        if bridge["reason"]:
            text += f": {bridge['reason']}"
            if bridge["state"] == "closed":
                text += f" (another port: tw port set {status['name']} {bridge['name']} PORT)"
        else:
            text += f", {count(bridge['flows'], 'flow')}, {_bytes(bridge['received'])} in, {_bytes(bridge['sent'])} out"
        yield text


def _serving(status: dict[str, Any]) -> Iterator[str]:
    ssh, relay_users = status["ssh"], status["relay_users"]
    online = len({one["user"] for one in ssh["sessions"]})
    yield f"  users    {ssh['users']} known, {online} online, {count(ssh['flows'], 'flow')}"
    for problem in (status["users_file"]["error"], relay_users["error"]):
        if problem:
            yield f"           {problem}"
    for one in ssh["sessions"]:
        yield (
            f"    {one['user']} for {_span(time.time() - one['since'])}, {count(one['flows'], 'flow')}, "
            f"{_bytes(one['sent'])} to it, {_bytes(one['received'])} from it"
        )


def _span(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _bytes(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
