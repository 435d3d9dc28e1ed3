"""The cells of a relay on which something is damaged: one tenant's trouble is not the others'."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tunnel_whisperer.tw.plugins.module_utils import relay_cell
from ansible_collections.tunnel_whisperer.tw.plugins.modules import cells

Run = Callable[..., dict[str, Any]]

UUID = "7c0b9a8e-2b6e-4a4b-8a45-0d7d3a1b2c3d"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIG8w0p5Z0n3r4m8V3yq7mVx0YcXgk0fH9m0kq2b3c4d5"


@pytest.fixture
def tenants(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of two tenants, acme and globex, both in order."""
    monkeypatch.setattr(cells, "TENANTS", str(tmp_path))
    monkeypatch.setattr(cells.Relay, "user_made", lambda self, name: False)
    for name in ("acme", "globex"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "xray.json").write_text(relay_cell.xray_config(name, UUID))
        (tmp_path / name / "authorized_keys").write_text(relay_cell.authorized_keys(KEY))
    return tmp_path


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the module warns of."""
    told: list[str] = []
    monkeypatch.setattr(AnsibleModule, "warn", lambda self, text: told.append(text))
    return told


DAMAGE = {
    "cut short": ("xray.json", b'{"inbounds": [{"set'),
    "empty": ("xray.json", b""),
    "another document": ("xray.json", b"[1, 2]"),
    "no identity": ("xray.json", b'{"inbounds": []}'),
    "a uuid that is none": ("xray.json", relay_cell.xray_config("acme", "nonsense").encode()),
    "no text": ("xray.json", bytes(range(128, 256))),
    "no key": ("authorized_keys", b"restrict"),
    "a key that is cut short": ("authorized_keys", b"restrict ssh-ed25519 AAAAC3"),
}


@pytest.mark.parametrize(("file", "content"), DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_tenant_is_named_and_left_and_the_others_are_kept(
    run: Run, tenants: Path, warnings: list[str], file: str, content: bytes
) -> None:
    (tenants / "acme" / file).write_bytes(content)
    said = run("cells", {}, check=True)
    assert f"{tenants}/acme/{file} is missing or damaged" in said["tenants"]["acme"]["problem"]
    assert said["tenants"]["acme"]["files"] == []
    assert "problem" not in said["tenants"]["globex"]
    assert "sshd_config" in said["tenants"]["globex"]["files"]
    (warning,) = warnings
    assert "tenant acme is left as it is" in warning
    assert "run again with its server in the run" in warning


@pytest.mark.parametrize(("file", "content"), DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_tenant_is_mended_when_its_server_is_part_of_the_run(
    run: Run, tenants: Path, warnings: list[str], file: str, content: bytes
) -> None:
    (tenants / "acme" / file).write_bytes(content)
    acme = {"name": "acme", "identity": {"uuid": UUID, "public_key": KEY}}
    said = run("cells", {"tenants": [acme]}, check=True)
    assert file in said["tenants"]["acme"]["files"]
    assert "problem" not in said["tenants"]["acme"]
    assert warnings == []


def test_a_damaged_tenant_can_be_removed(run: Run, tenants: Path, warnings: list[str]) -> None:
    (tenants / "acme" / "xray.json").unlink()
    said = run("cells", {"absent": ["acme"]}, check=True)
    assert said["tenants"]["acme"]["action"] == "removed"
    assert warnings == []
