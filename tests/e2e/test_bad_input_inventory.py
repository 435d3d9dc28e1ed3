"""What is wrong with an inventory is said in one message that names the place, before any host is touched."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.bridges import alice, answers, inventory_vars
from tests.lab.api import Lab

pytestmark = pytest.mark.timeout(240)


def refuse(lab: Lab, extra: dict[str, Any], *arguments: str) -> str:
    """Run site.yml with some variables changed; it has to fail, and what worked has to work still."""
    run = lab.playbook("playbooks/site.yml", "-e", json.dumps(extra), *arguments, check=False)
    assert run.returncode != 0
    assert answers(lab)
    return run.stdout + run.stderr


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"apps": ["postgrse"]}, 'tw_users.alice.apps[0]: unknown app "postgrse" (did you mean "postgres"?'),
        ({"ports": [70000]}, "tw_users.alice.ports[0]"),
        ({"tennant": "acme"}, "tw_users.alice.tennant"),
        ({"tenant": "operator"}, "tw_users.alice.tenant"),
        ({"tenant": "no such label!"}, "tw_users.alice.tenant"),
        ({"host": "client9"}, "tw_users.alice.host"),
    ],
)
def test_a_user_that_makes_no_sense(lab: Lab, changes: dict[str, Any], message: str) -> None:
    wanted = {**inventory_vars(lab)["tw_users"], "alice": alice(lab, **changes)}
    told = refuse(lab, {"tw_users": wanted})
    assert message in told
    assert "The inventory has a problem" in told


def test_two_problems_are_told_at_once(lab: Lab) -> None:
    told = refuse(lab, {"tw_users": {"alice": alice(lab, apps=["nothing"], ports=[0])}})
    assert "The inventory has 2 problems" in told


def test_two_users_of_one_name(lab: Lab, tmp_path: Path) -> None:
    """YAML would let the second one win in silence; an ansible.cfg as we advise it makes that an error."""
    twice = tmp_path / "twice.yml"
    user = "{tenant: acme, apps: [postgres], host: client1}"
    twice.write_text(f"all:\n  vars:\n    tw_users:\n      alice: {user}\n      alice: {user}\n")
    told = refuse(lab, {}, "-i", str(twice))
    assert "duplicate" in told
    assert "alice" in told


@pytest.mark.parametrize("tenant", ["operator", "Acme", "two words", "-acme", "a" * 40])
def test_a_tenant_name_that_is_no_label_or_reserved(lab: Lab, tenant: str) -> None:
    assert "server_tenant" in refuse(lab, {"server_tenant": tenant})


def test_a_misspelt_variable(lab: Lab) -> None:
    told = refuse(lab, {"relay_acme_direcotry": "https://acme.invalid"})
    assert "relay_acme_direcotry: there is no such variable; did you mean relay_acme_directory?" in told


def test_a_passphrase_that_is_missing_or_wrong(lab: Lab) -> None:
    assert "control_pki_passphrase has to be set" in refuse(lab, {"control_pki_passphrase": ""})
    told = refuse(lab, {"control_pki_passphrase": "not the right one"})
    assert "root.key" in told
    assert "not the right one" not in told


def test_a_relay_name_that_does_not_resolve(lab: Lab) -> None:
    told = refuse(lab, {"relay_name": "nowhere.example.test"})
    assert "nowhere.example.test does not resolve" in told


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (
            {"control_xray_file": {"x86_64": "/etc/hostname"}, "control_xray_sha256": {"x86_64": "0" * 64}},
            f"but control_xray_sha256.x86_64 says {'0' * 64}",
        ),
        ({"control_xray_file": {"x86_64": "/etc/hostname"}}, "is no program for Linux"),
        ({"control_caddy_source": "release"}, "control_caddy_sha256.x86_64"),
        ({"control_caddy_version": "9.9.9"}, "pinned in this collection are version"),
        ({"control_xray_source": "guess"}, "control_xray_source"),
    ],
)
def test_a_binary_that_cannot_be_had_or_is_another(lab: Lab, extra: dict[str, Any], message: str) -> None:
    assert message in refuse(lab, extra)
