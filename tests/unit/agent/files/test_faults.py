"""Changes that meet with a fault: all is as before or as wanted, and the next run tidies."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.agent.files.faults import Faulty, struck_by
from tests.unit.agent.files.trees import Tree, change, change_whole, prepare, tree, without_leftovers
from tunnel_whisperer.errors import FatalError
from tunnel_whisperer.files import Transaction, commit

Exchange = Callable[[int, str, str], bool]
EXCHANGES = pytest.mark.parametrize("exchange", [commit.exchange, lambda *_: False], ids=["exchange", "links"])
"""With the system call that exchanges two entries, and in a file system that does not have it."""


def run_with_faults(tmp_path: Path, exchange: Exchange, *, dead: bool, whole: bool = False) -> list[Tree]:
    """Commit with each call failing in turn; return the tree after each, until a commit meets no fault."""
    trees = []
    for fatal in range(1, 200):
        root = tmp_path / f"root{fatal}"
        prepare(root)
        with change_whole(root) if whole else change(root) as planned:
            faulty = Faulty(fatal, dead=dead)
            with struck_by(faulty, exchange), contextlib.suppress(FatalError):
                planned.commit()
        trees.append(tree(root))
        if faulty.calls < fatal:
            return trees
    raise AssertionError("no end of faults")


@EXCHANGES
@pytest.mark.parametrize("whole", [False, True])
def test_whatever_fails_all_is_as_before_or_as_wanted(tmp_path: Path, exchange: Exchange, whole: bool) -> None:
    prepare(tmp_path / "before")
    before = tree(tmp_path / "before")
    trees = run_with_faults(tmp_path, exchange, dead=False, whole=whole)
    after = trees[-1]
    assert len(trees) > 25
    assert before != after
    tidying = [found for found in trees if found not in (before, after)]
    # Once all is done, a fault can only leave something to tidy; what counts is as wanted.
    for found in tidying:
        assert without_leftovers(found) in (before, after)
    assert trees[0] == before


@EXCHANGES
def test_after_a_crash_each_file_is_old_or_new_and_the_next_run_tidies(tmp_path: Path, exchange: Exchange) -> None:
    prepare(tmp_path / "before")
    before = tree(tmp_path / "before")
    trees = run_with_faults(tmp_path, exchange, dead=True)
    after = trees[-1]
    for number, found in enumerate(trees, start=1):
        for name in ("old", "mode", "kept"):
            assert found[name] in (before[name], after.get(name))
        with change(tmp_path / f"root{number}") as planned:
            planned.commit()
        assert tree(tmp_path / f"root{number}") == after


def test_a_folder_changes_as_a_whole_whenever_the_power_goes(tmp_path: Path) -> None:
    prepare(tmp_path / "before")
    before = tree(tmp_path / "before")
    trees = run_with_faults(tmp_path, commit.exchange, dead=True, whole=True)
    after = trees[-1]
    assert after["context/kept"] == before["context/kept"]
    assert "context/roots" not in after
    for number, found in enumerate(trees, start=1):
        for name in ("context", "new"):
            states = [
                {path: its for path, its in one.items() if path.startswith(name)} for one in (found, before, after)
            ]
            assert states[0] in states[1:]
        with change_whole(tmp_path / f"root{number}") as planned:
            planned.commit()
        assert tree(tmp_path / f"root{number}") == after


def test_a_single_change_in_a_folder_leaves_its_other_files_alone(tmp_path: Path) -> None:
    prepare(tmp_path / "root")
    kept = (tmp_path / "root" / "context" / "kept").stat()
    with Transaction() as planned:
        planned.whole(tmp_path / "root" / "context")
        planned.write(tmp_path / "root" / "context" / "key", b"new key", mode=0o600)
        planned.commit()
    assert (tmp_path / "root" / "context" / "kept").stat() == kept


def test_who_waited_for_a_folder_gets_the_one_that_is_there_then(tmp_path: Path) -> None:
    prepare(tmp_path / "root")
    path, started = tmp_path / "root" / "context" / "key", threading.Event()

    def write() -> None:
        with Transaction() as planned:
            started.set()
            planned.write(path, b"theirs", mode=0o600)
            planned.commit()

    with change_whole(tmp_path / "root") as planned:
        waiting = threading.Thread(target=write)
        waiting.start()
        assert started.wait(10)
        planned.commit()
    waiting.join()
    assert path.read_bytes() == b"theirs"
    assert without_leftovers(found := tree(tmp_path / "root")) == found


def test_content_is_on_disk_before_it_is_put_in_place_and_the_folder_after(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")
    calls: list[tuple[str, int]] = []

    class Watched(Faulty):
        def done(self, real: Callable[..., Any], result: Any, args: tuple[Any, ...]) -> Any:
            node = os.fstat(args[0]).st_ino if isinstance(args[0], int) else 0
            calls.append((real.__name__, node))
            return result

    with Transaction() as planned:
        planned.write(tmp_path / "file", b"new", mode=0o600)
        with struck_by(Watched(0)):
            planned.commit()
    file, folder = (tmp_path / "file").stat().st_ino, tmp_path.stat().st_ino
    order = [
        call for call in calls if call in {("write", file), ("fsync", file), ("exchange", folder), ("fsync", folder)}
    ]
    assert order == [("write", file), ("fsync", file), ("exchange", folder), ("fsync", folder)]
