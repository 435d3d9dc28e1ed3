"""A role's defaults and variables, rendered as Ansible renders them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

ROLES = Path(__file__).parents[3] / "roles"


def variable(role: str, name: str, **known: Any) -> Any:
    """Return a variable of a role, with what the play would know given."""
    loader = DataLoader()
    variables: dict[str, Any] = {"role_path": str(ROLES / role), "ansible_check_mode": False}
    for part in ("defaults", "vars"):
        variables |= loader.load_from_file(str(ROLES / role / part / "main.yml"), trusted_as_template=True)
    return Templar(loader, variables=variables | known).template(variables[name])
