"""Enrolment: short-lived credentials become lasting ones, whose keys are made here and never travel."""

import asyncio
import os
import signal
import tempfile
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

from tunnel_whisperer import identity, pki
from tunnel_whisperer.bundle import IDENTITY, Bundle, read, write
from tunnel_whisperer.config import Bridge, ConnectConfig, RelayConfig
from tunnel_whisperer.errors import ConfigError, FatalError, RetryableError, TwError
from tunnel_whisperer.places import Place

CLOCK_SKEW = timedelta(minutes=10)
"""So much later than the bundle says it is still tried: this clock may be early, and the server knows better."""


class Enrolled(Protocol):
    """What the server answers: the user's UUID, the certificate with the intermediate behind it, and its bridges."""

    @property
    def uuid(self) -> str:
        """The VLESS UUID."""
        ...

    @property
    def certificate(self) -> str:
        """PEM, leaf and intermediate."""
        ...

    @property
    def bridges(self) -> tuple[Bridge, ...]:
        """What the user may reach."""
        ...


class Exchange(Protocol):
    """Shows our new public keys to the server, over a link of the credentials that `config` has."""

    def __call__(self, config: ConnectConfig, *, ssh_public_key: str, csr: str) -> Awaitable[Enrolled]:
        """Exchange; raises TwError."""
        ...


async def over_link(config: ConnectConfig, *, ssh_public_key: str, csr: str) -> Enrolled:
    """Exchange with the real server."""
    from tunnel_whisperer.link.enrol import exchange

    return await exchange(config, ssh_public_key=ssh_public_key, csr=csr)


def check_until(bundle: Bundle, *, where: str, now: datetime) -> None:
    """Raise ConfigError for a bundle whose time is over."""
    if bundle.until is not None and now > bundle.until + CLOCK_SKEW:
        hint = f"this clock says {now:%Y-%m-%d %H:%M} UTC; if that is right, ask for a new one"
        raise ConfigError(f"was good until {bundle.until:%Y-%m-%d %H:%M} UTC", where=where, hint=hint)


def enrol(bundle: Bundle, place: Place, xray: Path, exchange: Exchange, *, where: str) -> Bundle:
    """Return the lasting identity that the server gives for one of kind `enrolment`.

    Raises TwError that says whether the bundle can be used again; nothing is left behind in any case.
    """
    if not xray.is_file():
        raise ConfigError("there is no Xray here", where=str(xray), hint="install it, or put it into PATH")
    ssh_key, tls_key = pki.make_ssh_key(), pki.make_key()
    line = pki.ssh_public_line(ssh_key, f"{bundle.user}@{bundle.tenant}")
    csr = pki.make_csr(tls_key, bundle.user).decode()
    until = f" until {bundle.until:%Y-%m-%d %H:%M} UTC" if bundle.until else ""
    again = f"nothing was set up; try the file again{until}, and ask for a new one if it is refused then"
    try:
        with _interruptible(), _credentials(bundle, place, xray) as config:
            enrolled = asyncio.run(_finish(exchange(config, ssh_public_key=line, csr=csr)))
    except RetryableError as error:
        raise RetryableError(f"not enrolled: {error}", where=where, hint=again) from None
    except TwError as error:
        hint = "nothing was set up, and the file cannot be used again: ask for a new one"
        raise FatalError(f"not enrolled: {error}", where=where, hint=hint) from None
    except (KeyboardInterrupt, asyncio.CancelledError):
        interrupted = RetryableError("not enrolled: interrupted", where=where, hint=again)
        interrupted.exit_code = 130
        raise interrupted from None
    lasting = replace(
        bundle,
        kind=IDENTITY,
        until=None,
        uuid=enrolled.uuid,
        tls_key=pki.encode_key(tls_key).decode(),
        tls_chain=enrolled.certificate,
        ssh_key=ssh_key.decode(),
        bridges=enrolled.bridges,
    )
    with used_up(where):
        return read(write(lasting), where="the server's answer")


@contextmanager
def used_up(where: str) -> Iterator[None]:
    """Say of what fails after the exchange that the bundle is of no more use."""
    try:
        yield
    except TwError as error:
        hint = "the server has enrolled this user, so the file cannot be used again: ask for a new one"
        raise FatalError(f"enrolled, but not set up: {error}", where=where, hint=hint) from None


async def _finish(answer: Awaitable[Enrolled]) -> Enrolled:
    return await answer


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let signals that would end us interrupt what goes on instead, so that it is tidied up."""
    numbers = [number for number in (signal.SIGHUP, signal.SIGTERM) if signal.getsignal(number) == signal.SIG_DFL]
    for number in numbers:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)


@contextmanager
def _credentials(bundle: Bundle, place: Place, xray: Path) -> Iterator[ConnectConfig]:
    """Give a configuration with the bundle's own credentials, in a private folder that is gone afterwards."""
    parent = place.run if place.run.is_dir() and os.access(place.run, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="tw-", dir=parent) as made:
        folder = Path(made)
        files = {
            identity.SSH_KEY: bundle.ssh_key,
            identity.TLS_KEY: bundle.tls_key,
            identity.TLS_CHAIN: bundle.tls_chain,
            identity.UUID_FILE: f"{bundle.uuid}\n",
            identity.RELAY_ROOTS: bundle.relay.roots,
        }
        for name, text in files.items():
            if text is not None:
                (folder / name).touch(mode=0o600)
                (folder / name).write_text(text)
        relay = bundle.relay
        yield ConnectConfig(
            context=bundle.context,
            tenant=bundle.tenant,
            user=bundle.user,
            relay=RelayConfig(
                relay.host,
                relay.port,
                relay.profile,
                None if relay.roots is None else folder / identity.RELAY_ROOTS,
                relay.links,
            ),
            server_host_keys=bundle.server_host_keys,
            identity_dir=folder,
            bridges=(),
            runtime_dir=folder,
            xray=xray,
        )
