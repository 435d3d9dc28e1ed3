"""`tw serve`: the server side of a tenant, in the foreground."""

from pathlib import Path

import click

from tunnel_whisperer.config import DEFAULT_SERVE


@click.command("serve")
@click.option(
    "--config", type=click.Path(path_type=Path), default=DEFAULT_SERVE, show_default=True, help="The configuration."
)
def command(config: Path) -> int:
    """Run the server side of a tenant until told to stop."""
    from tunnel_whisperer import daemon, serve

    return daemon.run(lambda: serve.make(config))
