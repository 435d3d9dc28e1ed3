"""scripts/role_specs.py finds what does not fit together, and writes the variables' page."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[3]

SPEC = """\
argument_specs:
  main:
    short_description: A relay.
    options:
      relay_port:
        type: int
        default: 443
        description: The port | of the relay.
      relay_names:
        type: list
        elements: str
        required: true
        description: [First., Second.]
"""
DEFAULTS = "relay_port: 443\n"
TASKS = "- debug: msg='{{ relay_port }} {{ relay_names }}'\n"


@pytest.fixture(scope="module")
def specs() -> ModuleType:
    source = importlib.util.spec_from_file_location("role_specs", ROOT / "scripts/role_specs.py")
    assert source is not None
    assert source.loader is not None
    module = importlib.util.module_from_spec(source)
    sys.modules["role_specs"] = module  # dataclasses look their module up there
    source.loader.exec_module(module)
    return module


def tree(root: Path, spec: str = SPEC, defaults: str = DEFAULTS, tasks: str = TASKS, variables: str = "") -> Path:
    for room, text in {
        "meta/argument_specs.yml": spec,
        "defaults/main.yml": defaults,
        "tasks/main.yml": tasks,
        "vars/main.yml": variables,
    }.items():
        path = root / "roles/relay" / room
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_a_role_in_step_has_nothing_to_report(specs: ModuleType, tmp_path: Path) -> None:
    assert list(specs.disagreements(tree(tmp_path))) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"defaults": ""}, "relay_port is missing, the specification says 443"),
        ({"defaults": "relay_port: 444\n"}, "default of relay_port is 443, roles/relay/defaults/main.yml says 444"),
        ({"defaults": DEFAULTS + "relay_extra: 1\n", "tasks": TASKS + "relay_extra"}, "relay_extra is missing"),
        ({"defaults": DEFAULTS + "relay_names: []\n"}, "relay_names is required and has a default"),
        ({"defaults": DEFAULTS + "__relay_x: 1\n", "tasks": TASKS + "__relay_x"}, "__relay_x is an internal"),
        ({"tasks": "relay_port"}, "relay_names is used nowhere"),
        ({"variables": "__relay_unused: 1\n"}, "__relay_unused is used nowhere"),
        ({"spec": SPEC.replace("relay_port:", "port:"), "defaults": "port: 443\n"}, "port does not begin with relay_"),
        ({"spec": SPEC.replace("description: The port | of the relay.", "")}, "relay_port has no description"),
    ],
)
def test_what_disagrees_is_named(specs: ModuleType, tmp_path: Path, change: dict[str, str], said: str) -> None:
    found = "\n".join(specs.disagreements(tree(tmp_path, **change)))
    assert said in found


def test_a_role_without_specification_is_named(specs: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "roles/client/tasks").mkdir(parents=True)
    assert list(specs.disagreements(tmp_path)) == ["roles/client/meta/argument_specs.yml: missing"]


def test_the_page_has_every_variable(specs: ModuleType, tmp_path: Path) -> None:
    page = specs.document(tree(tmp_path))
    assert "## Role `relay`\n\nA relay.\n" in page
    assert "| relay_port | int | `443` | The port \\| of the relay. |" in page
    assert "| *relay_names* | list of str |  | First. Second. |" in page
