#!/usr/bin/env python3
"""Keeps the roles' defaults, their argument specifications and docs/variables.md in step.

scripts/role_specs.py check              what disagrees, one line each; exit code 1 when anything does
scripts/role_specs.py document           write docs/variables.md
scripts/role_specs.py document --check   say whether it is current
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

SHARED = ("tw_",)  # data of the whole inventory, not of one role
Options = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Role:
    """What one role says of its variables."""

    name: str
    path: Path
    summary: list[str] = field(default_factory=list)
    options: Options = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    internals: Mapping[str, Any] = field(default_factory=dict)

    @property
    def prefixes(self) -> tuple[str, ...]:
        """How the names of its public variables may begin."""
        return (f"{self.name.strip('_')}_", *SHARED)


def read_roles(root: Path) -> list[Role]:
    """All roles of the collection, by name."""
    return [_read_role(path) for path in sorted((root / "roles").iterdir()) if path.is_dir()]


def _read_role(path: Path) -> Role:
    specs = _yaml(path / "meta/argument_specs.yml").get("argument_specs", {})
    options: Options = {}
    for entry in specs.values():
        options.update(entry.get("options") or {})
    internals: dict[str, Any] = {}
    for file in sorted(path.glob("vars/*.yml")):
        internals.update(_yaml(file))
    about = specs.get("main", {})
    summary = [about.get("short_description", ""), *_paragraphs(about.get("description", []))]
    return Role(path.name, path, summary, options, _yaml(path / "defaults/main.yml"), internals)


def _yaml(path: Path) -> dict[str, Any]:
    return (yaml.safe_load(path.read_text()) or {}) if path.exists() else {}


def disagreements(root: Path) -> Iterator[str]:
    """Every place where defaults, specifications and use do not fit together."""
    used = _text_in_use(root)
    for role in read_roles(root):
        spec = f"roles/{role.name}/meta/argument_specs.yml"
        if not (role.path / "meta/argument_specs.yml").exists():
            yield f"{spec}: missing"
            continue
        yield from _specified(role, spec)
        yield from _defaulted(role, spec)
        for name in sorted({*role.options, *role.defaults, *role.internals}):
            if not re.search(rf"(?<![\w]){re.escape(name)}(?![\w])", used):
                yield f"roles/{role.name}: {name} is used nowhere"


def _specified(role: Role, spec: str) -> Iterator[str]:
    for name, option in sorted(role.options.items()):
        if not name.startswith(role.prefixes):
            yield f"{spec}: {name} does not begin with {' or '.join(role.prefixes)}"
        if not option.get("description"):
            yield f"{spec}: {name} has no description"
        if option.get("required"):
            if name in role.defaults:
                yield f"{spec}: {name} is required and has a default"
        elif "default" in option and name not in role.defaults:
            said = option["default"]
            yield f"roles/{role.name}/defaults/main.yml: {name} is missing, the specification says {said!r}"


def _defaulted(role: Role, spec: str) -> Iterator[str]:
    file = f"roles/{role.name}/defaults/main.yml"
    for name, value in sorted(role.defaults.items()):
        option = role.options.get(name)
        if name.startswith("__"):
            yield f"{file}: {name} is an internal, its place is vars/main.yml"
        elif option is None:
            yield f"{spec}: {name} is missing"
        elif "default" not in option:
            if value not in (None, "") and not _computed(value):
                yield f"{spec}: {name} has no default, {file} says {value!r}"
        elif option["default"] != value:
            yield f"{spec}: default of {name} is {option['default']!r}, {file} says {value!r}"


def _computed(value: object) -> bool:
    return isinstance(value, str) and "{{" in value


def _text_in_use(root: Path) -> str:
    """The text of everything that may use a variable; places that only declare one are left out."""
    files = [
        *root.glob("playbooks/**/*.yml"),
        *root.glob("roles/*/defaults/*.yml"),
        *root.glob("roles/*/vars/*.yml"),
        *(
            file
            for room in ("tasks", "handlers", "templates")
            for file in root.glob(f"roles/*/{room}/**/*")
            if file.is_file()
        ),
    ]
    declaration = re.compile(r"^\w+:", re.MULTILINE)
    texts = []
    for file in files:
        text = file.read_text()
        texts.append(declaration.sub("", text) if file.parent.name in ("defaults", "vars") else text)
    return "\n".join(texts)


def document(root: Path) -> str:
    """The text of docs/variables.md."""
    lines = [
        "# Variables",
        "",
        "Written from the roles' argument specifications by `make docs`; change it there. Every role checks what it is",
        "given before it touches anything. Names in *italics* are required.",
        "",
        "`tw_apps`, `tw_groups` and `tw_users` (who may reach what) belong to no role: see [users](users.md).",
    ]
    for role in read_roles(root):
        if role.options:
            summary = [line for paragraph in role.summary if paragraph for line in ("", _words(paragraph))]
            lines += ["", f"## Role `{role.name}`", *summary, "", *_table(role.options)]
    return "\n".join(lines) + "\n"


def _table(options: Options) -> Iterator[str]:
    yield "| variable | type | default | meaning |"
    yield "|---|---|---|---|"
    yield from _rows(options, depth=0)


def _rows(options: Options, depth: int) -> Iterator[str]:
    for name, option in sorted(options.items()):
        kind = option.get("type", "str")
        if kind == "list" and "elements" in option:
            kind = f"list of {option['elements']}"
        shown = f"{'&nbsp;&nbsp;' * depth}{'.' if depth else ''}{name}"
        shown = f"*{shown}*" if option.get("required") else shown
        yield f"| {shown} | {kind} | {_default(option)} | {_meaning(option)} |"
        yield from _rows(option.get("options") or {}, depth + 1)


def _default(option: Mapping[str, Any]) -> str:
    if "default" not in option:
        return ""
    text = _plain(option["default"])
    return f"`{_cell(text)}`" if text else '`""`'


def _plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _meaning(option: Mapping[str, Any]) -> str:
    text = " ".join(_paragraphs(option.get("description", "")))
    if choices := option.get("choices"):
        text += f" One of {', '.join(f'`{_plain(choice)}`' for choice in choices)}."
    return _cell(_words(text))


def _paragraphs(description: str | list[str]) -> list[str]:
    return description if isinstance(description, list) else [str(description)]


def _words(text: str) -> str:
    """Ansible's markup as Markdown."""
    text = re.sub(r"\bP\(([^()#]*)#\w+\)", r"`\1`", text)
    return re.sub(r"\b[CVOMIB]\(((?:[^()]|\([^()]*\))*)\)", r"`\1`", text)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def main(arguments: list[str]) -> int:
    """Run one of the commands in this file's first lines."""
    root = Path(__file__).resolve().parent.parent
    target = root / "docs/variables.md"
    match arguments:
        case ["check"]:
            found = list(disagreements(root))
            print(*found, sep="\n", end="\n" if found else "")
            return 1 if found else 0
        case ["document"]:
            target.write_text(document(root))
            return 0
        case ["document", "--check"]:
            if target.exists() and target.read_text() == document(root):
                return 0
            print("docs/variables.md is not what the specifications say: run `make docs`")
            return 1
        case _:
            print(__doc__, file=sys.stderr)
            return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
