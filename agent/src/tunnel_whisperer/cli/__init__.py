"""The command `tw`: one file a noun, loaded only when it is asked for.

A command's function returns its exit code (None is 0): 0 well, 1 a check failed or not up, 2 bad usage or
configuration, 3 the daemon cannot be reached. A TwError ends the command with one line on standard error and the
error's own code.
"""

import importlib
import keyword
import sys
from collections.abc import Sequence
from typing import NoReturn

import click
from click.shell_completion import CompletionItem

from tunnel_whisperer.errors import TwError

SECTIONS = {
    "Using a server's ports": {
        "import": "Set up a context from a bundle.",
        "connect": "Run a context: bring the server's ports to this host.",
        "context": "Show, choose, rename, delete and export contexts.",
        "port": "Choose local ports for bridges.",
    },
    "Giving ports to users": {
        "user": "Show, add, edit and remove the users of a server.",
        "app": "Show, add, edit and remove apps: named lists of ports.",
        "serve": "Run the server side of a tenant.",
    },
    "Looking after it": {
        "status": "Show what the daemons on this host are doing.",
        "test": "Try every step from here to the far end, and say what to do.",
        "reload": "Let a running daemon read its files again.",
        "check-config": "Check a configuration file and the identity it names.",
        "relay": "Reach the relay's own sshd.",
        "completion": "Let your shell complete commands and names.",
    },
}
"""What `tw --help` shows, in its order."""

COMMANDS = {name: help_text for section in SECTIONS.values() for name, help_text in section.items()}
"""Each command lies in the module of its name and is called `command` there."""


def module_of(name: str) -> str:
    """Return the module that a command lies in."""
    return f"tunnel_whisperer.cli.{name.replace('-', '_')}{'_' if keyword.iskeyword(name) else ''}"


class _LazyGroup(click.Group):
    """A group that knows its commands by name and imports the one that is run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(module_of(cmd_name)).command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, commands in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl(list(commands.items()), col_max=20)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete a command's name without importing all of them."""
        names = [CompletionItem(name, help=text) for name, text in COMMANDS.items() if name.startswith(incomplete)]
        return names or click.Command.shell_complete(self, ctx, incomplete)


def _version(ctx: click.Context, _param: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from tunnel_whisperer import __version__

        click.echo(f"tw {__version__}")
        ctx.exit()


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version.")
def command() -> None:
    """Bridges for TCP ports between closed networks, over HTTPS only."""


def run(args: Sequence[str] | None = None) -> int:
    """Run a command line (default: this process's) and return its exit code."""
    try:
        code = command.main(args=args, prog_name="tw", standalone_mode=False)
    except TwError as error:
        click.echo(f"tw: {error}", err=True)
        return error.exit_code
    except PermissionError as error:
        click.echo(
            f"tw: {error.filename}: only root and the group tw may look there; run it as root: sudo tw ...", err=True
        )
        return 2
    except click.ClickException as error:
        error.show()
        return 2
    except (click.Abort, KeyboardInterrupt):
        return 130
    return code if isinstance(code, int) else 0


def main() -> NoReturn:
    """Be the program `tw`."""
    sys.exit(run())
