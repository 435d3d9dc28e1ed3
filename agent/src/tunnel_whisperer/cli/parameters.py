"""Parameters that several commands take."""

from collections.abc import Iterable

import click
from click.shell_completion import CompletionItem

from tunnel_whisperer import places
from tunnel_whisperer.config import read_connect
from tunnel_whisperer.errors import TwError
from tunnel_whisperer.files import Change


class ContextName(click.ParamType[str]):
    """The name of a context; the shell completes those that are there."""

    name = "context"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the contexts whose names begin so."""
        names = sorted({context.name for context in places.known()})
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]


class BridgeName(click.ParamType[str]):
    """The name of a bridge of the context named before it."""

    name = "bridge"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the bridges whose names begin so."""
        try:
            bridges = read_connect(places.find(ctx.params.get("context")).file).bridges
        except (TwError, PermissionError):
            return []
        return [CompletionItem(bridge.name) for bridge in bridges if bridge.name.startswith(incomplete)]


CONTEXT = ContextName()
BRIDGE = BridgeName()

as_json = click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
dry_run = click.option("--dry-run", is_flag=True, help="Say what would change, and change nothing.")


def examples(*lines: str) -> str:
    """Return the end of a command's help."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def tell(changes: Iterable[Change]) -> None:
    """Say what a dry run would have changed."""
    words = {"create": "would make", "change": "would change", "delete": "would remove"}
    for change in changes:
        click.echo(f"{words[change.action]} {change.path}")
