"""What holds for every file of the tree."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.lab import machine

ROOT = Path(__file__).resolve().parents[3]
THIS = Path(__file__).resolve()
FREE_TEXT = {"LICENSE"}
ALLOWED_HOSTS = re.compile(
    r"""(?x)
    127\.0\.0\.1 | localhost | \[::1\] | unix
    | (?:[\w-]+\.)*example(?:\.(?:com|org|net))?       # kept for examples by RFC 2606
    | (?:[\w.<>{}-]+\.)?(?:invalid|test|internal)     # likewise, and ours
    | (?:198\.51\.100|203\.0\.113|10\.\d+\.\d+)\.\d+   # the lab
    | github\.com | www\.gnu\.org | acme(?:-staging)?-v02\.api\.letsencrypt\.org | letsencrypt\.org
    | caddyserver\.com | xtls\.github\.io | docs\.ansible\.com
    """
)


def tracked() -> list[Path]:
    """Files that belong to the tree: what git has, and what it would take."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout.decode()
    return sorted(path for name in listed.split("\0") if name and (path := ROOT / name).is_file())


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


FILES = tracked()
TEXTS = {path: path.read_text() for path in FILES if path.name not in FREE_TEXT and path.suffix not in {".png", ".gz"}}
PYTHON = [path for path in FILES if path.suffix == ".py"]


def found(pattern: str, *, flags: int = 0) -> list[str]:
    """Lines of the tree, other than this file's, that match."""
    expression = re.compile(pattern, flags)
    return [
        f"{name(path)}:{number}: {line.strip()}"
        for path, text in TEXTS.items()
        if path != THIS
        for number, line in enumerate(text.splitlines(), start=1)
        if expression.search(line)
    ]


def test_addresses_are_public_ones_or_examples() -> None:
    """A mirror or registry of the machine something was written on has no place here."""
    strange = []
    for path, text in TEXTS.items():
        for url in re.finditer(r"\b(?:https?|ftp)://([^\s/:\"'`)>\]]+)", text):
            host = url[1].rpartition("@")[2]
            if not ALLOWED_HOSTS.fullmatch(host) and not re.search(r"[{}$%<\\(|*]", host):
                strange.append(f"{name(path)}: {url[0]}")
    assert strange == []


def test_no_package_index_is_chosen() -> None:
    assert found(r"--(?:extra-)?index-url[ =]|--trusted-host|PIP_(?:EXTRA_)?INDEX_URL=|GOPROXY=https?:") == []


def test_no_paths_of_a_machine_of_ours() -> None:
    assert found(r"(?<![\w.~}])/(?:home|Users|work)/[a-z]|/var/tmp/dev|\.pyenv") == []
    if len(ROOT.parts) > 2:
        assert found(re.escape(str(ROOT)) + r"\b") == []


def test_nothing_is_left_for_later() -> None:
    assert found(r"\b(?:TODO|FIXME|XXX|HACK)\b") == []
    assert found(r"pytest\.(?:mark\.)?(?:skip|xfail)|unittest\.skip|importorskip") == []


def test_exceptions_from_the_linters_say_why() -> None:
    assert found(r"#\s*noqa(?!: [A-Z0-9, ]+\s{1,2}(?:#|-)\s*\w)") == []
    assert found(r"#\s*type: ignore(?!\[[a-z, -]+\]\s+#\s*\w)") == []
    assert found(r"#\s*(?:yamllint disable|noqa:? *yaml)|# *shellcheck disable=\S+$") == []


@pytest.mark.parametrize("path", PYTHON, ids=name)
def test_python_files_stay_small(path: Path) -> None:
    assert len(TEXTS[path].splitlines()) < 400


def test_task_files_stay_small() -> None:
    tasks = [path for path in FILES if path.suffix == ".yml" and {"tasks", "handlers"} & set(path.parts)]
    assert [name(path) for path in tasks if len(TEXTS[path].splitlines()) >= 120] == []


def test_scripts_say_what_they_are() -> None:
    for path in FILES:
        text = TEXTS.get(path, "")
        if path.stat().st_mode & 0o100:
            assert text.startswith("#!"), f"{name(path)} is executable and names no interpreter"
        if text.startswith("#!") and path.parent.name in ("scripts", ".ci"):
            assert re.match(r'#!.*\n(?:# |""")\w', text), f"{name(path)} does not begin by saying what it does"
            assert path.stat().st_mode & 0o100, f"{name(path)} is a program and not executable"


def test_modules_say_what_they_are() -> None:
    silent = [name(path) for path in PYTHON if TEXTS[path].strip() and not ast.get_docstring(ast.parse(TEXTS[path]))]
    assert silent == []


def test_links_between_documents_lead_somewhere() -> None:
    links = [
        (path, link)
        for path in FILES
        if path.suffix == ".md"
        for link in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", TEXTS[path])
        if "://" not in link
    ]
    assert [f"{name(path)}: {link}" for path, link in links if not (path.parent / link).exists()] == []


def test_documents_name_targets_that_exist() -> None:
    makefiles = [TEXTS[path] for path in FILES if path.name == "Makefile" or path.suffix == ".mk"]
    targets = set(re.findall(r"^([a-z][a-z0-9-]*):", "\n".join(makefiles), re.MULTILINE))
    named = {
        (name(path), target)
        for path in FILES
        if path.suffix == ".md"
        for target in re.findall(r"(?:`|^ {4}|\$ )make ([a-z][a-z0-9-]*)", TEXTS[path], re.MULTILINE)
    }
    assert {(file, target) for file, target in named if target not in targets} == set()


def test_a_bare_machine_gets_what_the_lab_needs() -> None:
    wanted = set(machine.TOOLS.items())
    given = set(re.findall(r"^need (\S+) (\S+)$", TEXTS[ROOT / ".ci/run"], re.MULTILINE))
    assert wanted - given == set()


def test_versions_agree() -> None:
    galaxy = yaml.safe_load(TEXTS[ROOT / "galaxy.yml"])
    agent = tomllib.loads(TEXTS[ROOT / "agent/pyproject.toml"])
    assert galaxy["version"] == agent["project"]["version"]


def test_the_collection_depends_on_the_collections_that_it_uses() -> None:
    rooms = [path for path in FILES if path.suffix == ".yml" and {"roles", "playbooks"} & set(path.parts)]
    names = {name for path in rooms for name in re.findall(r"\b((?:community|ansible)\.\w+)\.\w+", TEXTS[path])}
    assert names - {"ansible.builtin"} == set(yaml.safe_load(TEXTS[ROOT / "galaxy.yml"])["dependencies"])


def test_the_lock_is_of_what_the_agent_asks_for() -> None:
    agent = tomllib.loads(TEXTS[ROOT / "agent/pyproject.toml"])["project"]["dependencies"]
    locked = [line for line in TEXTS[ROOT / "requirements/agent.in"].splitlines() if line and not line.startswith("#")]
    assert sorted(locked) == sorted(agent)


@pytest.mark.parametrize("path", sorted((ROOT / "requirements").glob("*.txt")), ids=name)
def test_requirements_are_locked_by_hash(path: Path) -> None:
    stanzas = re.split(r"^(?=\w)", TEXTS[path], flags=re.MULTILINE)
    assert [text.split()[0] for text in stanzas if text[0].isalnum() and "--hash=sha256:" not in text] == []
