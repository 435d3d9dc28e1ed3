"""`tw relay`: the operator's way to the relay."""

import asyncio
import signal
import sys
from pathlib import Path

import click

from tunnel_whisperer.carrier.brief import brief_carrier
from tunnel_whisperer.carrier.settings import CarrierSettings
from tunnel_whisperer.config import DialConfig, load_dial
from tunnel_whisperer.errors import RetryableError
from tunnel_whisperer.stream.stdio import join


@click.group("relay")
def command() -> None:
    """Reach the relay's own sshd."""


@command.command()
@click.option("--config", type=click.Path(path_type=Path), required=True, help="The operator's dial.yml.")
@click.option("-v", "--verbose", is_flag=True, help="Log what Xray does to standard error.")
def dial(config: Path, verbose: bool) -> int:
    """Join standard input and output to the relay's sshd: a ProxyCommand for ssh."""
    log(verbose)
    return asyncio.run(_dial(load_dial(config)))


def log(verbose: bool) -> None:
    """Log to standard error where asked for; else say nothing but the error that ends the command."""
    import logging

    root = logging.getLogger("tunnel_whisperer")
    root.addHandler(logging.StreamHandler() if verbose else logging.NullHandler())
    root.setLevel(logging.DEBUG if verbose else logging.CRITICAL)


async def _dial(config: DialConfig) -> int:
    task = asyncio.current_task()
    assert task
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    settings = CarrierSettings.for_entry(config.relay, config.entry, config.identity_dir)
    try:
        async with brief_carrier(settings, config.xray, runtime_dir=config.runtime_dir) as carrier:
            try:
                await join(carrier, "127.0.0.1", 22, sys.stdin.buffer, sys.stdout.buffer)
            except RetryableError as error:
                await asyncio.sleep(0.1)  # Xray says why a moment later
                reason = carrier.status()["last_error"] or error.message
                raise RetryableError(reason, where=f"relay {config.relay.host}") from None
    except asyncio.CancelledError:
        return 130
    return 0
