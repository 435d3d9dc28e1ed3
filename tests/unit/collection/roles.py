"""A role's defaults and variables, rendered as Ansible renders them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

ROLES = Path(__file__).parents[3] / "roles"


def variable(role: str, name: str, *, task: tuple[str, str] | None = None, **known: Any) -> Any:
    """Return a variable of a role, or of a `task` (its file and name), with what the play would know given."""
    variables: dict[str, Any] = {"role_path": str(ROLES / role), "ansible_check_mode": False}
    for part in ("defaults", "vars"):
        variables |= _load(ROLES / role / part / "main.yml")
    if task:
        (its,) = (found["vars"] for found in _load(ROLES / role / "tasks" / task[0]) if found["name"] == task[1])
        variables |= its
    return Templar(DataLoader(), variables=variables | known).template(variables[name])


def _load(path: Path) -> Any:
    return DataLoader().load_from_file(str(path), trusted_as_template=True)
