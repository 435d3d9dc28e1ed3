"""What a crash or a refusal leaves of files that were being written."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.tunnel_whisperer.tw.plugins.module_utils import durable
from ansible_collections.tunnel_whisperer.tw.plugins.module_utils.durable import drafting, point
from ansible_collections.tunnel_whisperer.tw.plugins.module_utils.relay_files import Tree


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is done with the disk, in order: which file was synced, and which was moved where."""
    done: list[str] = []
    fsync, replace = os.fsync, os.replace

    def note_sync(handle: int) -> None:
        done.append(f"sync {Path(f'/proc/self/fd/{handle}').readlink().name}")
        fsync(handle)

    def note_move(source: str, target: str) -> None:
        done.append(f"move {Path(source).name} to {Path(target).name}")
        replace(source, target)

    monkeypatch.setattr(durable.os, "fsync", note_sync)
    monkeypatch.setattr(durable.os, "replace", note_move)
    return done


def write_drafts(folder: Path) -> None:
    with drafting() as drafts:
        first = drafts.write(str(folder / "a"), b"new a", 0o600)
        second = drafts.write(str(folder / "b"), b"new b", 0o640)
        assert not (folder / "b").exists()
        assert [Path(draft).read_bytes() for draft in (first, second)] == [b"new a", b"new b"]
        drafts.place()


def write_tree(folder: Path) -> None:
    tree = Tree(str(folder), {"a": "new a", "b": "new b"}, group="root")
    assert tree.pending == ["a", "b"]
    tree.write()


@pytest.mark.parametrize("write", [write_drafts, write_tree])
def test_all_are_on_the_disk_before_the_first_is_moved(
    steps: list[str], tmp_path: Path, write: Callable[[Path], None]
) -> None:
    (tmp_path / "a").write_text("old a")
    write(tmp_path)
    kinds = [step.split()[0] for step in steps]
    assert kinds == ["sync", "sync", "move", "move", "sync"]
    assert steps[-1] == f"sync {tmp_path.name}"
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "new a", "b": "new b"}


def test_what_is_given_up_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old a")
    with contextlib.suppress(KeyError), drafting() as drafts:
        drafts.write(str(tmp_path / "a"), b"new a", 0o600)
        raise KeyError
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a", "old a")]


def test_a_draft_has_its_mode_before_it_is_in_place(tmp_path: Path) -> None:
    with drafting() as drafts:
        draft = drafts.write(str(tmp_path / "a"), b"secret", 0o640)
        assert Path(draft).stat().st_mode & 0o777 == 0o640


def test_a_link_is_pointed_elsewhere_in_one_step(steps: list[str], tmp_path: Path) -> None:
    link = tmp_path / "current"
    link.symlink_to("one")
    (tmp_path / "current.part").symlink_to("left by a crash")
    point(str(link), "two")
    assert link.readlink() == Path("two")
    assert [path.name for path in tmp_path.iterdir()] == ["current"]
    assert steps == ["move current.part to current", f"sync {tmp_path.name}"]
