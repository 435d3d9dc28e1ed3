"""The command `tw`: one file a noun, loaded only when it is asked for.

A command's function returns its exit code (None is 0): 0 well, 1 a check failed or not up, 2 bad usage or
configuration, 3 the daemon cannot be reached. A TwError ends the command with one line on standard error and the
error's own code.
"""

import importlib
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from tunnel_whisperer.errors import TwError

COMMANDS = {
    "serve": "Run the server side of a tenant.",
    "connect": "Run a context: bring the server's ports to this host.",
    "status": "Show what the daemons on this host are doing.",
    "test": "Try every step from here to the far end, and say what to do.",
    "reload": "Let a running daemon read its files again.",
    "check-config": "Check a configuration file and the identity it names.",
    "relay": "Reach the relay's own sshd.",
}
"""Each command lies in the module of its name and is called `command` there."""


class _LazyGroup(click.Group):
    """A group that knows its commands by name and imports the one that is run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"tunnel_whisperer.cli.{cmd_name.replace('-', '_')}")
        command = module.command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


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
