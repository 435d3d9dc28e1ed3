"""Misspelt variables are found, and variables of one's own let be."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from ansible_collections.tunnel_whisperer.tw.plugins.plugin_utils.spelling import known_variables, misspelt


@pytest.fixture
def known(project_root: Path) -> set[str]:
    return known_variables(project_root / "roles")


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("control_xray_verison", "control_xray_version"),
        ("contol_dir", "control_dir"),
        ("server_tennant", "server_tenant"),
        ("tw_user", "tw_users"),
        ("control_pki_passprase", "control_pki_passphrase"),
    ],
)
def test_a_slip_is_found(known: set[str], given: str, meant: str) -> None:
    assert misspelt([given, "ansible_host"], known) == {given: meant}


def test_what_is_known_or_like_nothing_of_ours_is_let_be(known: set[str]) -> None:
    own = [
        "vault_control_pki_passphrase",
        "my_relay_name",
        "ansible_host",
        "server_room",
        "client_name",
        "relay_provider",
        "http_port",
        "inventory_hostname",
        "groups",
    ]
    assert misspelt([*known, *own], known) == {}


def test_the_readme_s_own_inventory_is_let_be(known: set[str], project_root: Path) -> None:
    readme = (project_root / "README.md").read_text()
    inventory = yaml.safe_load(readme.split("```yaml\n")[1].split("```")[0])
    hosts = [host for group in inventory.values() for host in group.get("hosts", {}).values()]
    names = {*inventory["all"]["vars"], "vault_control_pki_passphrase", *(name for host in hosts for name in host)}
    assert "relay_name" in names
    assert misspelt(names, known) == {}
