"""Bad input is refused with a line that names its item and field, all of it at once, and nothing changes."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.agent.files.trees import tree
from tests.unit.agent.provision.world import World
from tests.unit.agent.users import samples
from tests.unit.agent.users.hostile import ALL, BUNDLES, KEYS, NAMES, PORTS, TERMS, Bad
from tunnel_whisperer.bundle import Relay
from tunnel_whisperer.errors import ConfigError
from tunnel_whisperer.files import Transaction
from tunnel_whisperer.problems import InvalidInputError
from tunnel_whisperer.provision.sealing import Sealer, admit
from tunnel_whisperer.users.plan import Policy

DEFAULTS: dict[str, Any] = {
    "tenant": "acme",
    "relay": Relay(host="relay.example.com"),
    "passphrases": {},
    "renew_bundles": [],
}


@pytest.fixture
def busy(world: World) -> World:
    """A world in which there is a user with an app."""
    world.users({"alice": {"public_key": str(samples.key(9)), "apps": ["pg"]}}, apps={"pg": {"ports": [5432]}})
    return world


def give(world: World, bad: Bad, *, pretend: bool) -> None:
    given = {**DEFAULTS, **bad.more}
    policy = Policy(given["tenant"], renew=frozenset(given["renew_bundles"]))
    sealer = Sealer(given["tenant"], given["relay"], given["passphrases"], world.now)
    with Transaction() as transaction:
        admit(transaction, bad.users, policy, world.place, sealer, apps=bad.apps, pretend=pretend)
        transaction.commit()


@pytest.mark.parametrize("pretend", [True, False], ids=["check", "run"])
@pytest.mark.parametrize("bad", ALL, ids=lambda bad: bad.what)
def test_bad_input_is_refused_by_name_and_changes_nothing(busy: World, bad: Bad, pretend: bool) -> None:
    before = tree(busy.root)
    with pytest.raises(ConfigError) as caught:
        give(busy, bad, pretend=pretend)
    lines = caught.value.problems if isinstance(caught.value, InvalidInputError) else (str(caught.value),)
    assert lines[0].startswith(bad.line)
    assert all(line.isprintable() and line.isascii() and len(line) < 700 for line in lines)
    assert tree(busy.root) == before


def test_everything_bad_is_told_at_once(busy: World) -> None:
    users: dict[Any, Any] = {}
    lines = []
    for index, bad in enumerate([*NAMES, *KEYS[:-1], *PORTS, *TERMS, *BUNDLES[:9]]):
        for name, fields in bad.users.items():
            users[f"user{index}" if name == "bob" else name] = fields
            lines.append(
                bad.line.replace("users.bob", f"users.user{index}").replace(
                    "passphrases.bob", f"passphrases.user{index}"
                )
            )
    with pytest.raises(InvalidInputError) as caught:
        give(busy, Bad("all", "", users), pretend=False)
    assert [line for line in lines if not any(said.startswith(line) for said in caught.value.problems)] == []
