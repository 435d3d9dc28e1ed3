"""The agent as wheels: what a host of some kind gets, and what names the release."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ansible_collections.tunnel_whisperer.tw.plugins.plugin_utils.cache import Cache, PartError
from ansible_collections.tunnel_whisperer.tw.plugins.plugin_utils.pythons import (
    MACHINES,
    PYTHONS,
    Source,
    Target,
    Wheelhouse,
    only,
    pick,
)

LOCK = """\
# written by a tool
common==1.0 \\
    --hash=sha256:aa \\
    --hash=sha256:bb
    # via -r agent.in
old-only==2.0 ; python_full_version < '3.13' \\
    --hash=sha256:cc
    # via common
arm-only==3.0 ; platform_machine == 'aarch64' \\
    --hash=sha256:dd
windows==4.0 ; sys_platform == 'win32' \\
    --hash=sha256:ee
"""


@pytest.fixture
def agent(tmp_path: Path) -> Path:
    folder = tmp_path / "agent"
    (folder / "src/tunnel_whisperer").mkdir(parents=True)
    (folder / "pyproject.toml").write_text('[project]\nname = "x"\nversion = "1.2.3"\n')
    (folder / "src/tunnel_whisperer/__init__.py").write_text("")
    return folder


def test_a_lock_is_cut_to_what_the_host_needs() -> None:
    assert pick(LOCK, Target("3.11", "x86_64")) == (
        "common==1.0 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\nold-only==2.0 \\\n    --hash=sha256:cc\n"
    )
    assert "old-only" not in pick(LOCK, Target("3.13", "x86_64"))
    assert "arm-only" in pick(LOCK, Target("3.13", "aarch64"))
    assert "windows" not in pick(LOCK, Target("3.13", "aarch64"))


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("python", PYTHONS)
def test_every_requirement_of_the_real_lock_keeps_its_hashes(project_root: Path, python: str, machine: str) -> None:
    picked = pick((project_root / "requirements/agent.txt").read_text(), Target(python, machine))
    entries = re.split(r"(?m)^(?=[a-z])", picked)[1:]
    assert len(entries) > 5
    for entry in entries:
        assert re.fullmatch(r"[a-z0-9-]+==\S+( \\\n    --hash=sha256:[0-9a-f]{64})+\n", entry), entry


def test_one_entry_is_taken_out_of_the_real_lock(project_root: Path) -> None:
    entry = only((project_root / "requirements/build.txt").read_text(), "pip")
    assert re.fullmatch(r"pip==\S+ \\\n(    --hash=sha256:[0-9a-f]{64}( \\)?\n)+", entry)
    with pytest.raises(PartError, match="no entry for nothing"):
        only(LOCK, "nothing")


@pytest.mark.parametrize(
    ("python", "machine", "message"),
    [("3.9", "x86_64", "3.9"), ("3.10", "x86_64", "agent_python"), ("3.11", "riscv64", "this host is riscv64")],
)
def test_a_host_that_cannot_run_it_is_told_so(python: str, machine: str, message: str) -> None:
    with pytest.raises(PartError, match=message):
        Target(python, machine)


def test_what_tools_left_in_the_source_is_not_part_of_it(agent: Path) -> None:
    before = Source.read(agent).key
    for name in (
        "src/tunnel_whisperer/__pycache__/a.pyc",
        "dist/old.whl",
        ".ruff_cache/x",
        "src/tunnel_whisperer/a_pb2.py",
    ):
        path = agent / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("left over")
    assert Source.read(agent).key == before
    assert Source.read(agent).version == "1.2.3"


def test_a_changed_source_is_another_release(agent: Path, project_root: Path, tmp_path: Path) -> None:
    collection = agent.parent
    (collection / "requirements").symlink_to(project_root / "requirements")

    def release(target: Target) -> str:
        return Wheelhouse(Cache(tmp_path / "cache", print), target, collection).release

    x86, arm = Target("3.11", "x86_64"), Target("3.11", "aarch64")
    first = release(x86)
    assert re.fullmatch(r"1\.2\.3-cp311-x86_64-[0-9a-f]{12}", first)
    assert release(x86) == first != release(arm)
    (agent / "src/tunnel_whisperer/__init__.py").write_text("changed")
    assert release(x86) != first


def test_the_source_written_is_the_source_read(agent: Path, tmp_path: Path) -> None:
    source = Source.read(agent)
    source.write(tmp_path / "copy")
    assert Source.read(tmp_path / "copy") == source
