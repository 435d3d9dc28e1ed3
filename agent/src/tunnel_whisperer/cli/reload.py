"""`tw reload`: let a running daemon follow its files."""

from pathlib import Path

import click

from tunnel_whisperer.control import SOCKET, ask
from tunnel_whisperer.running import RUN, runtime_dir


@click.command("reload")
@click.argument("name", metavar="serve|CONTEXT")
@click.option("--run", type=click.Path(path_type=Path), default=RUN, hidden=True)
def command(name: str, run: Path) -> None:
    """Let the daemon read its configuration and users again, without dropping what has not changed."""
    answer = ask(runtime_dir(name, run) / SOCKET, "reload", timeout=30.0)
    click.echo(f"{name}: {'; '.join(answer['changed']) or 'nothing changed'}")
    if answer["restart"]:
        click.echo(f"{name}: in force after a restart only: {', '.join(answer['restart'])}", err=True)
