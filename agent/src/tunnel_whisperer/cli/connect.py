"""`tw connect`: a context with its bridges, in the foreground."""

from pathlib import Path

import click

from tunnel_whisperer.config import find_context


@click.command("connect")
@click.argument("context", required=False)
@click.option("--config", type=click.Path(path_type=Path), help="The context's connect.yml, where it lies elsewhere.")
def command(context: str | None, config: Path | None) -> int:
    """Run CONTEXT until told to stop: bring the server's ports to this host. Without a name, the only one there is."""
    from tunnel_whisperer import connect, daemon

    path = config if config is not None else find_context(context)
    return daemon.run(lambda: connect.make(path))
