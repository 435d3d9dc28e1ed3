"""`tw completion`: what a shell needs to complete commands, options and names."""

import click
from click.shell_completion import get_completion_class

from tunnel_whisperer.cli.parameters import examples

_SHELLS = ("bash", "zsh", "fish")


@click.command(
    "completion",
    epilog=examples(
        "tw completion bash > ~/.local/share/bash-completion/completions/tw",
        "tw completion zsh > ~/.zfunc/_tw",
        "tw completion fish > ~/.config/fish/completions/tw.fish",
    ),
)
@click.argument("shell", type=click.Choice(_SHELLS))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print what SHELL is to read so that it completes commands, options and the names of contexts."""
    found = get_completion_class(shell)
    assert found is not None
    click.echo(found(ctx.find_root().command, {}, "tw", "_TW_COMPLETE").source())
