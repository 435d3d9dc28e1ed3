"""Module files, run here as a program as Ansible runs it."""

from __future__ import annotations

import getpass
import grp
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., dict[str, Any]]
ME = {"owner": getpass.getuser(), "group": grp.getgrgid(os.getgid()).gr_name}


@pytest.fixture
def write(run: Run) -> Run:
    def call(*files: dict[str, str], folders: tuple[dict[str, str], ...] = (), check: bool = False) -> dict[str, Any]:
        given = {"files": [{**ME, **file} for file in files], "folders": [{**ME, **folder} for folder in folders]}
        return run("files", given, check=check)

    return call


def test_check_then_run_then_again(write: Run, tmp_path: Path) -> None:
    folder, file = tmp_path / "a/b", tmp_path / "a/b/c.conf"
    wanted = ({"path": str(file), "content": "one\n", "mode": "0600"},)
    folders = ({"path": str(folder)},)
    said = write(*wanted, folders=folders, check=True)
    assert said["changed"]
    assert said["diff"][0]["after"] == "one\n"
    assert not folder.exists()
    assert write(*wanted, folders=folders)["paths"] == said["paths"] == [str(folder), str(file)]
    assert file.read_text() == "one\n"
    assert file.stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o755
    assert not write(*wanted, folders=folders)["changed"]


def test_permissions_that_drifted_are_mended(write: Run, tmp_path: Path) -> None:
    file = tmp_path / "a"
    wanted = {"path": str(file), "content": "one"}
    write(wanted)
    file.chmod(0o666)
    said = write(wanted)
    assert said["paths"] == [str(file)]
    assert said["diff"] == []
    assert file.stat().st_mode & 0o777 == 0o644


def test_one_file_that_is_refused_leaves_all_as_they_were(write: Run, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_text("old")
    said = write(
        {"path": str(first), "content": "new"},
        {
            "path": str(second),
            "content": "bad",
            "validate": "/bin/sh -c 'grep -q good %s || { echo not good; exit 1; }'",
        },
    )
    assert said["failed"]
    assert f"{second}: /bin/sh does not accept it: not good" in said["msg"]
    assert first.read_text() == "old"
    assert not second.exists()
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["first"]
