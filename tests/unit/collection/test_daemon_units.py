"""The units of the two daemons: one template, two plain files."""

from __future__ import annotations

import pytest

from tests.unit.collection.roles import variable
from tunnel_whisperer.errors import ConfigError


def unit(role: str) -> dict[str, str]:
    """Return the settings of a role's unit, as systemd reads them."""
    lines = str(variable(role, f"__{role}_unit_file")["content"]).splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


@pytest.mark.parametrize("role", ["server", "client"])
def test_a_unit_is_a_plain_file(role: str) -> None:
    text = variable(role, f"__{role}_unit_file")["content"]
    assert "{" not in text
    assert text.startswith(f"# Written by Tunnel Whisperer (Ansible, role {role})")
    assert text.endswith("WantedBy=multi-user.target\n")


def test_the_units_differ_in_what_the_daemons_do_only() -> None:
    server, client = unit("server"), unit("client")
    differ = {key for key in server.keys() | client.keys() if server.get(key) != client.get(key)}
    assert differ == {
        "Description",
        "ExecStart",
        "ExecReload",
        "RuntimeDirectory",
        "StateDirectory",
        "CapabilityBoundingSet",
        "AmbientCapabilities",
    }
    assert (server["CapabilityBoundingSet"], client["CapabilityBoundingSet"]) == ("", "CAP_NET_BIND_SERVICE")


@pytest.mark.parametrize("role", ["server", "client"])
def test_a_daemon_is_started_again_unless_its_configuration_has_to_be_mended(role: str) -> None:
    found = unit(role)
    assert found["Restart"] == "always"
    assert found["RestartPreventExitStatus"] == str(ConfigError.exit_code)
