"""`tw reload`: let a running daemon follow its files."""

from dataclasses import replace
from pathlib import Path

import click

from tunnel_whisperer import places
from tunnel_whisperer.cli.parameters import CONTEXT
from tunnel_whisperer.control import SOCKET, ask
from tunnel_whisperer.running import runtime_dir


@click.command("reload")
@click.argument("name", metavar="serve|CONTEXT", type=CONTEXT)
@click.option("--run", type=click.Path(path_type=Path), hidden=True)
def command(name: str, run: Path | None) -> None:
    """Let the daemon read its configuration and users again, without dropping what has not changed."""
    where = [replace(places.SYSTEM, run=run)] if run else None
    answer = ask(runtime_dir(name, where) / SOCKET, "reload", timeout=30.0)
    click.echo(f"{name}: {'; '.join(answer['changed']) or 'nothing changed'}")
    if answer["restart"]:
        click.echo(f"{name}: in force after a restart only: {', '.join(answer['restart'])}", err=True)
