"""What modules write into the host's journal and what they return has no secret, unless a secret was asked for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.basic import AnsibleModule

from tests.unit.collection.roles import variable

Run = Callable[..., dict[str, Any]]

UUID = "7c0b9a8e-2b6e-4a4b-8a45-0d7d3a1b2c3d"
CONTEXT = {"tenant": "acme", "user": "alice", "certificate": "x", "relay": {}, "server_host_keys": ["x"], "bridges": []}
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIG8w0p5Z0n3r4m8V3yq7mVx0YcXgk0fH9m0kq2b3c4d5"


@pytest.fixture
def journal(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """All that modules log, their own arguments among it."""
    lines: list[str] = []

    def log(self: AnsibleModule, message: str, log_args: dict[str, str] | None = None) -> None:
        lines.extend([message, json.dumps(log_args)])

    monkeypatch.setattr(AnsibleModule, "log", log)
    return lines


def test_uuids_of_contexts_are_told_nobody(run: Run, journal: list[str], tmp_path: Path) -> None:
    client = {"client_contexts": {"acme": {**CONTEXT, "uuid": UUID}}}
    given = {name: variable("client", f"__client_{name}", **client) for name in ("contexts", "uuids")}
    assert given["uuids"] == {"acme": UUID}
    said = run("contexts", {"dir": str(tmp_path / "connect"), **given})
    assert said["failed"], "the certificate is none"
    assert "contexts=" in "".join(journal)
    assert UUID not in "".join(journal) + json.dumps(said)


def test_a_uuid_that_lies_open_is_refused(run: Run, tmp_path: Path) -> None:
    given = {"contexts": {"acme": {**CONTEXT, "uuid": UUID}}, "uuids": {"acm": UUID}}
    said = run("contexts", {"dir": str(tmp_path), **given})
    assert said["problems"] == [
        "contexts.acme.uuid: is logged there; give it as uuids.acme",
        'uuids.acm: unknown context "acm" (did you mean "acme"? known: acme)',
    ]


def test_uuids_in_cells_are_told_nobody(run: Run, journal: list[str]) -> None:
    tenants = [{"name": "acme", "identity": {"uuid": UUID, "public_key": KEY}}]
    operators = [{"name": "primary", "identity": {"uuid": UUID}}]
    said = run("cells", {"tenants": tenants, "operators": operators}, check=True)
    assert said["changed"]
    assert "tenants=" in "".join(journal)
    assert UUID not in "".join(journal) + json.dumps(said)


def test_the_uuids_of_a_server_and_of_operators_are_told_who_asks_for_them(run: Run, tmp_path: Path) -> None:
    tenant = {"dir": str(tmp_path / "serve"), "tenant": "acme"}
    authority = {"dir": str(tmp_path), "relay_name": "relay.example.com", "passphrase": "correct horse"}
    for module, args, told in (("tenant", tenant, "uuid"), ("authority", authority, "operators")):
        assert told not in run(module, args)
        assert run(module, {**args, "secrets": True})[told]
