"""`tw test`: where does the way to the far end break, and what is to be done?"""

import asyncio
import json
import os
from pathlib import Path

import click

from tunnel_whisperer import places
from tunnel_whisperer.cli.parameters import CONTEXT
from tunnel_whisperer.cli.relay import log
from tunnel_whisperer.config import DEFAULT_SERVE, find_context
from tunnel_whisperer.doctor.examine import examine
from tunnel_whisperer.doctor.report import as_data, line
from tunnel_whisperer.doctor.result import Record, Result
from tunnel_whisperer.errors import ConfigError

SERVE = "serve"


@click.command("test")
@click.argument("name", metavar="[CONTEXT|serve]", type=CONTEXT, required=False)
@click.option("--config", type=click.Path(path_type=Path), help="Examine this file, of whatever kind it is.")
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
@click.option("-v", "--verbose", is_flag=True, help="Log what Xray does to standard error.")
def command(name: str | None, config: Path | None, as_json: bool, verbose: bool) -> int:
    """Try every step to the far end, over connections of its own: the daemon may be up or down.

    Without a name everything that is set up on this host is tried. The exit code is 1 when a step failed.
    """
    log(verbose)
    records = asyncio.run(_examine(_subjects(name, config), quiet=as_json))
    if as_json:
        click.echo(json.dumps(as_data(records), indent=1))
    return 0 if all(record.ok for record in records.values()) else 1


async def _examine(subjects: dict[str, Path], *, quiet: bool) -> dict[str, Record]:
    records = {}
    for name, path in subjects.items():
        if not quiet:
            click.echo(f"{name}:")
        records[name] = Record(_nothing if quiet else _print)
        await examine(path, records[name])
    return records


def _subjects(name: str | None, config: Path | None) -> dict[str, Path]:
    """Return what to examine: subject -> configuration file."""
    if config:
        return {name or str(config): config}
    if name == SERVE:
        return {SERVE: DEFAULT_SERVE}
    if name:
        return {name: find_context(name)}
    found = {SERVE: DEFAULT_SERVE} if os.path.exists(DEFAULT_SERVE) else {}
    for context in places.known():
        found.setdefault(context.name, context.file)
    if not found:
        raise ConfigError("nothing is set up here", where=str(DEFAULT_SERVE.parent), hint="or it takes root to see it")
    return found


def _print(result: Result) -> None:
    for text in line(result):
        click.echo(text)


def _nothing(_result: Result) -> None:
    pass
