"""`tw check-config`: is this file, with the identity it names, fit to start with?"""

from pathlib import Path

import click

from tunnel_whisperer.config import DialConfig, ServeConfig, load_any
from tunnel_whisperer.errors import ConfigError
from tunnel_whisperer.identity import Identity, read_public


@click.command("check-config")
@click.argument("file", type=click.Path(path_type=Path))
def command(file: Path) -> None:
    """Check FILE (serve.yml, connect.yml or dial.yml) and the identity it names."""
    config = load_any(file)
    identity = Identity(config.identity_dir)
    identity.uuid()
    identity.check_tls()
    if config.relay.roots_file:
        read_public(config.relay.roots_file)
    if not isinstance(config, DialConfig):
        identity.ssh_key()
    if isinstance(config, ServeConfig):
        identity.ssh_host_key()
    if not config.xray.is_file():
        raise ConfigError(f"key 'xray': there is no file {config.xray}", where=str(file))
    click.echo(f"{file}: good")
