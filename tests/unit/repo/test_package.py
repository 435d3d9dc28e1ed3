"""The collection as people install it: what hosts are given and what builds that is in it, what only we need is not."""

from __future__ import annotations

import subprocess
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The names in the archive that `ansible-galaxy collection build` makes."""
    out = tmp_path_factory.mktemp("package")
    subprocess.run(
        ["ansible-galaxy", "collection", "build", "--output-path", str(out), str(ROOT)],
        check=True,
        capture_output=True,
        cwd=out,
    )
    with tarfile.open(next(out.glob("*.tar.gz"))) as archive:
        return {entry.name for entry in archive if entry.isfile()}


@pytest.mark.parametrize(
    "name",
    [
        "README.md",
        "LICENSE",
        "meta/runtime.yml",
        "playbooks/site.yml",
        "plugins/modules/users.py",
        "roles/relay/meta/argument_specs.yml",
        "roles/control/files/build/xray/go.sum",
        "agent/pyproject.toml",
        "agent/hatch_build.py",
        "agent/src/tunnel_whisperer/users/plan.py",
        "requirements/agent.txt",
        "requirements/build.txt",
        "requirements/go.txt",
    ],
)
def test_it_has_what_a_run_needs(packed: set[str], name: str) -> None:
    assert name in packed


def test_it_has_nothing_that_only_we_need(packed: set[str]) -> None:
    ours = ("tests/", "molecule/", "scripts/", "Makefile", "pyproject.toml")
    assert [name for name in sorted(packed) if name.startswith(ours)] == []
    assert [name for name in sorted(packed) if "/." in f"/{name}" or "__pycache__" in name or "_pb2" in name] == []


def test_every_file_of_the_collection_is_in_it(packed: set[str]) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "plugins", "roles", "playbooks", "agent/src", "agent/proto", "meta"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout.decode()
    assert {name for name in listed.split("\0") if name and (ROOT / name).exists()} - packed == set()
