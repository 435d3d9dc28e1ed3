"""Runs the collection's modules as Ansible runs them, on this host, in a folder of the test's own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.modules.site import Made, Result, Site

Play = Callable[..., list[Result]]

COLLECTION = "tunnel_whisperer.tw"


@pytest.fixture(scope="session")
def collections(project_root: Path) -> str:
    """The folder in which this checkout stands as a collection."""
    run = subprocess.run([project_root / "scripts" / "collections"], capture_output=True, text=True, check=True)
    return run.stdout.strip()


@pytest.fixture(scope="session")
def play(tmp_path_factory: pytest.TempPathFactory, collections: str) -> Play:
    """Runs tasks (module, arguments, keywords of the task) in one play and returns what each told."""

    home = tmp_path_factory.mktemp("ansible")

    def run(
        *tasks: tuple[str, dict[str, Any]] | tuple[str, dict[str, Any], dict[str, Any]],
        python: str | Path = sys.executable,
        verbose: bool = False,
    ) -> list[Result]:
        book = [
            {
                "hosts": "localhost",
                "connection": "local",
                "gather_facts": False,
                "vars": {"ansible_python_interpreter": str(python)},
                "tasks": [
                    {
                        module if "." in module else f"{COLLECTION}.{module}": arguments,
                        "ignore_errors": True,
                        **dict(*more),
                    }
                    for module, arguments, *more in tasks
                ],
            }
        ]
        (home / "book.json").write_text(json.dumps(book))
        environment = {
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": collections,
            "ANSIBLE_HOME": str(home),
            "ANSIBLE_LOCALHOST_WARNING": "0",
            "ANSIBLE_INVENTORY_UNPARSED_WARNING": "0",
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
        }
        command = [str(Path(sys.executable).with_name("ansible-playbook")), "--diff", str(home / "book.json")]
        command += ["-vvv"] if verbose else []
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        try:
            told = json.loads(done.stdout[done.stdout.index("{") :])
        except ValueError:
            raise AssertionError(done.stdout + done.stderr) from None
        return [task["hosts"]["localhost"] for task in told["plays"][0]["tasks"]]

    return run


FOUR = ({"check_mode": True}, {"check_mode": False}, {"check_mode": True}, {"check_mode": False})


@pytest.fixture
def four_calls(play: Play, tmp_path: Path) -> Callable[[str, dict[str, Any]], list[Result]]:
    """Calls a module four times: check, run, check, run; the first two tell the same change, the last two none.

    Returns what the four calls told. In check mode nothing may change on disk.
    """

    def calls(module: str, arguments: dict[str, Any]) -> list[Result]:
        look = ("ansible.builtin.command", {"argv": [sys.executable, "-c", LOOK, str(tmp_path)]}, {"check_mode": False})
        told = play(look, *(step for keywords in FOUR for step in ((module, arguments, keywords), look)))
        trees, results = [task["stdout"] for task in told[::2]], told[1::2]
        assert [result.get("msg") for result in results if result.get("failed")] == []
        assert [result["changed"] for result in results] == [True, True, False, False]
        assert trees[0] == trees[1] != trees[2] == trees[3] == trees[4]
        assert [d["after_header"] for d in results[0]["diff"]] == [d["after_header"] for d in results[1]["diff"]]
        assert results[2]["diff"] == results[3]["diff"] == []
        return results

    return calls


LOOK = """
import hashlib, pathlib, sys
root = pathlib.Path(sys.argv[1])
for path in sorted(root.rglob("*")):
    at = path.lstat()
    content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
    print(path, oct(at.st_mode), at.st_uid, at.st_gid, at.st_mtime_ns if path.is_file() else "", content)
"""


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """An empty site."""
    return Site(tmp_path)


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory, play: Play) -> Made:
    """A made site with a copy beside it, for the tests to be made from."""
    site = Site(tmp_path_factory.mktemp("made") / "site")
    site.root.mkdir()
    results = play(*site.steps())
    assert [result.get("msg") for result in results if result.get("failed")] == []
    shutil.copytree(site.root, site.root.with_name("copy"), symlinks=True)
    return Made(site, results)


@pytest.fixture
def made(pristine: Made) -> Made:
    """The made site as it was when it was new: its paths stand in its files, so it stays in its place."""
    shutil.rmtree(pristine.site.root)
    shutil.copytree(pristine.site.root.with_name("copy"), pristine.site.root, symlinks=True)
    return pristine
