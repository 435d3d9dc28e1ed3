"""`tw connect`: a context with its bridges, in the foreground."""

from pathlib import Path

import click

from tunnel_whisperer.cli.parameters import CONTEXT, examples
from tunnel_whisperer.config import find_context


@click.command("connect", epilog=examples("tw connect", "tw connect office", "tw connect office --map postgres=15432"))
@click.argument("context", type=CONTEXT, required=False)
@click.option("--config", type=click.Path(path_type=Path), help="The context's connect.yml, where it lies elsewhere.")
@click.option(
    "--map",
    "maps",
    multiple=True,
    metavar="BRIDGE=[ADDRESS:]PORT",
    help="Let a bridge listen there for this run; tw port does it for good.",
)
def command(context: str | None, config: Path | None, maps: tuple[str, ...]) -> int:
    """Run CONTEXT until told to stop: bring the server's ports to this host.

    Without a name it is the current context (tw context use), else the only one there is.
    """
    from tunnel_whisperer import connect, daemon, ports

    path = config if config is not None else find_context(context)
    ends = ports.read_maps(maps)
    return daemon.run(lambda: connect.make(path, ends))
