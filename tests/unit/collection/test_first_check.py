"""A first run in check mode: nothing is installed anywhere yet, so nobody can make keys, not even for pretence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.collection.roles import variable

Run = Callable[..., dict[str, Any]]


@pytest.mark.parametrize("check", [True, False])
def test_a_relay_is_not_refused_for_the_root_that_a_real_run_would_make(check: bool) -> None:
    known = {"inventory_hostname": "relay", "relay_name": "relay.example.com", "relay_operators": {"primary": {}}}
    task = ("preflight.yml", "Check what was given")
    checks = variable("relay", "__relay_checks", task=task, ansible_check_mode=check, **known)
    refused = [item["name"] for item in checks if not item["that"]]
    assert refused == ([] if check else ["relay_root_certificate"])


@pytest.mark.parametrize("check", [True, False])
def test_operators_that_a_real_run_would_make_are_no_mistake(run: Run, check: bool) -> None:
    operators = [{"name": "primary", "identity": {"uuid": None}}]
    said = run("cells", {"operators": operators, "tenants": [{"name": "A"}]}, check=check)
    assert ("operators[0]" in said["msg"]) is not check
