"""The collection's own code is imported by the name Ansible has for it."""

from __future__ import annotations

import importlib
import json
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils import basic
from ansible.plugins.loader import init_plugin_loader

ROOT = Path(__file__).parents[3]
COLLECTIONS = subprocess.run([ROOT / "scripts/collections"], capture_output=True, text=True, check=True).stdout.strip()
init_plugin_loader([COLLECTIONS])


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., dict[str, Any]]:
    """Runs a module of the collection as Ansible does (name, arguments, check mode) and returns what it tells."""

    def call(name: str, args: Mapping[str, object], *, check: bool = False) -> dict[str, Any]:
        given = {
            **args,
            "_ansible_check_mode": check,
            "_ansible_remote_tmp": str(tmp_path),
            "_ansible_keep_remote_files": False,
        }
        monkeypatch.setattr(basic, "_ANSIBLE_ARGS", json.dumps({"ANSIBLE_MODULE_ARGS": given}).encode())
        monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy", raising=False)
        module = importlib.import_module(f"ansible_collections.tunnel_whisperer.tw.plugins.modules.{name}")
        with pytest.raises(SystemExit):
            module.main()
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        return result

    return call
