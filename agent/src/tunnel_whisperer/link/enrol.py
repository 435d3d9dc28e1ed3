"""The enrolment exchange: short-lived credentials are shown once, and lasting ones come back for keys made here."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from tunnel_whisperer import pki
from tunnel_whisperer.carrier import CarrierSettings, XrayCarrier
from tunnel_whisperer.carrier.brief import brief_carrier
from tunnel_whisperer.carrier.certificate import utcnow
from tunnel_whisperer.config import Bridge, ConnectConfig
from tunnel_whisperer.errors import FatalError, NotGrantedError, RetryableError
from tunnel_whisperer.identity import TLS_CHAIN, Identity
from tunnel_whisperer.link import ssh
from tunnel_whisperer.link.client import ClientLink
from tunnel_whisperer.link.instances import Instance
from tunnel_whisperer.link.link import CELL, CellPorts, LinkLostError, Login, Surroundings
from tunnel_whisperer.link.pool import LinkPool
from tunnel_whisperer.problems import Problems
from tunnel_whisperer.tls_chain import check, find
from tunnel_whisperer.users.targets import read_host, read_port

PATIENCE = 12.0
"""Seconds to reach the server; a link that is just being lost comes back within that."""

UNKNOWN = (
    "it looks the same when these credentials are not known: used already, too late, too early, or the user removed"
)

_BRIDGE_FIELDS = ("name", "host", "port", "local_port")


@dataclass(frozen=True, slots=True)
class Enrolled:
    """What the server gave: the VLESS UUID, the certificate with the intermediate behind it (PEM), the bridges."""

    uuid: str
    certificate: str
    bridges: tuple[Bridge, ...]


async def exchange(config: ConnectConfig, *, ssh_public_key: str, csr: str, ports: CellPorts = CELL) -> Enrolled:
    """Enrol with the credentials in the identity directory of `config`, for the keys that are shown.

    Raises RetryableError where the same credentials may serve another time, FatalError or ConfigError where not. To be
    cancelled at any time.
    """
    life = find(Identity(config.identity_dir), utcnow()).life
    if life.over(utcnow()):
        raise FatalError(f"its credentials were good until {life.ends:%Y-%m-%d %H:%M} UTC")
    settings = CarrierSettings.for_entry(config.relay, config.tenant, config.identity_dir)
    async with (
        brief_carrier(settings, config.xray, runtime_dir=config.runtime_dir) as carrier,
        _link(config, carrier, ports) as link,
    ):
        try:
            answer = await link.ask("enrol", ssh_public_key=ssh_public_key, csr=csr)
        except NotGrantedError as error:
            kind = RetryableError if error.retry else FatalError
            raise kind(f"the server says no: {error}") from None
        except LinkLostError as error:
            hint = "the server may have enrolled us all the same, and then these credentials are used up"
            raise RetryableError(str(error), hint=hint) from None
    return read_answer(answer, config, csr)


def read_answer(answer: dict[str, Any], config: ConnectConfig, csr: str) -> Enrolled:
    """Make sure that an answer has what we can use: raises FatalError with all that is wrong with it."""
    problems = Problems()
    name = pki.user_name(config.user, config.tenant)
    where = Path(TLS_CHAIN)
    problems.read(
        lambda text: check(text, where, pki.read_csr(csr), name, utcnow()), answer.get("certificate"), "certificate"
    )
    uuid = problems.read(lambda text: str(UUID(str(text))), answer.get("uuid"), "uuid")
    bridges = [
        _bridge(problems, item, f"bridges[{number}]")
        for number, item in enumerate(problems.items(answer.get("bridges"), "bridges"))
    ]
    if len(problems) or uuid is None:
        raise FatalError(f"the server's answer cannot be used: {problems.first()}")
    return Enrolled(uuid, str(answer["certificate"]), tuple(bridge for bridge in bridges if bridge is not None))


def _bridge(problems: Problems, item: object, where: str) -> Bridge | None:
    found = problems.mapping(item, where, _BRIDGE_FIELDS)
    name = problems.read(_read_name, found.get("name"), f"{where}.name")
    host = problems.read(read_host, found.get("host"), f"{where}.host")
    port = problems.read(read_port, found.get("port"), f"{where}.port")
    local = problems.read(read_port, found.get("local_port"), f"{where}.local_port")
    if name is None or host is None or port is None or local is None:
        return None
    return Bridge(name=name, host=host, port=port, local_port=local)


def _read_name(value: object) -> str:
    if not isinstance(value, str) or not value.isprintable() or not 0 < len(value) <= 100:
        raise ValueError("is no name")
    return value


@contextlib.asynccontextmanager
async def _link(config: ConnectConfig, carrier: XrayCarrier, ports: CellPorts) -> AsyncIterator[ClientLink]:
    """Give a link to the server, through whichever of its ports at the relay answers."""
    host_keys = ssh.host_keys(config.server_host_keys)
    login = Login(config.user, Identity(config.identity_dir).ssh_key(), lambda: host_keys, Instance())
    pool: LinkPool[ClientLink] = LinkPool(1, lambda number: ClientLink(number, login, around))

    def trouble() -> str | None:
        error: str | None = carrier.status()["last_error"]
        return error

    around = Surroundings(dialer=carrier, report=pool.report, siblings=lambda: pool.links, explain=trouble, ports=ports)
    running = asyncio.create_task(pool.run(), name="link to enrol over")
    try:
        link = await pool.live(PATIENCE)
        if link is None:
            reason = pool.links[0].life.reason.removeprefix("after: ")
            raise RetryableError(reason, hint=None if trouble() else UNKNOWN)
        yield link
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
