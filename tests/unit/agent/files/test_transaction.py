"""Changes to files: as asked, all or none whatever fails when, and never outside the folders they were meant for."""

from __future__ import annotations

import contextlib
import os
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.unit.agent.files.trees import NOBODY, ROOT, change, prepare, tree
from tunnel_whisperer import files
from tunnel_whisperer.errors import ConfigError, FatalError, RetryableError, TwError
from tunnel_whisperer.files import Owner, Transaction, commit, transaction


def test_planning_changes_nothing_and_a_commit_all(tmp_path: Path) -> None:
    root = tmp_path / "root"
    prepare(root)
    before = tree(root)
    with change(root) as planned:
        assert tree(root) == before
        assert [(str(c.path.relative_to(root)), c.action) for c in planned.changes] == [
            ("new", "create"),
            ("old", "change"),
            ("mode", "change"),
            ("gone", "delete"),
            ("folder", "delete"),
            ("made", "create"),
            ("made/inside", "create"),
            ("mended", "change"),
        ]
        planned.commit()
    found = tree(root)
    assert {name: (entry[0], entry[3]) for name, entry in found.items()} == {
        "new": (0o600, b"new"),
        "old": (0o600, b"newer"),
        "mode": (0o600, b"same"),
        "kept": (0o644, b"kept"),
        "made": (0o750, None),
        "made/inside": (0o640, b"inside"),
        "mended": (0o700, None),
        "context": (0o750, None),
        **{f"context/{name}": (0o644, name.encode()) for name in ("key", "certificate", "roots", "kept")},
    }
    with change(root) as again:
        assert again.changes == []
        again.commit()
    assert tree(root) == found


def test_an_interrupt_undoes_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "root"
    prepare(root)
    before = tree(root)

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with change(root) as planned, monkeypatch.context() as patched:
        patched.setattr(commit, "_swap", interrupted)
        with pytest.raises(KeyboardInterrupt):
            planned.commit()
    assert tree(root) == before


def test_nothing_is_readable_by_others_before_it_is_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modes: list[int] = []
    real = commit._swap

    def look(*given: Any) -> None:
        modes.extend(stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir())
        real(*given)

    monkeypatch.setattr(commit, "_swap", look)
    with Transaction() as planned:
        planned.write(tmp_path / "secret", b"x", mode=0o600, secret=True)
        planned.commit()
    assert modes == [0o600]


def test_secrets_are_not_told(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"old secret")
    with Transaction() as planned:
        planned.write(tmp_path / "key", b"new secret", mode=0o600, secret=True)
        planned.write(tmp_path / "other", b"third secret", mode=0o600, secret=True)
        planned.write(tmp_path / "users", b"fourth secret", mode=0o600, shown=("", "alice\n"))
        told = "".join(c.before + c.after for c in planned.changes)
    assert "old secret" not in told
    assert "new secret" not in told
    assert "third" not in told
    assert "fourth" not in told
    assert "(another secret)" in told
    assert "alice" in told


def test_a_file_that_is_as_wanted_after_all_is_no_change(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "a").chmod(0o600)
    with Transaction() as planned:
        assert planned.write(tmp_path / "a", b"b", mode=0o600)
        assert not planned.write(tmp_path / "a", b"a", mode=0o600)
        assert planned.changes == []


def test_folders_are_made_with_their_parents(tmp_path: Path) -> None:
    with Transaction() as planned:
        planned.folders(tmp_path / "a" / "b" / "c", mode=0o700)
        planned.write(tmp_path / "a" / "b" / "c" / "file", b"x", mode=0o600)
        planned.commit()
    assert (tmp_path / "a" / "b" / "c" / "file").read_bytes() == b"x"
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o700


def test_a_folder_nobody_asked_for_is_missed_by_name(tmp_path: Path) -> None:
    with Transaction() as planned:
        with pytest.raises(ConfigError, match=f"{tmp_path}/no: does not exist"):
            planned.write(tmp_path / "no" / "file", b"x", mode=0o600)
        with pytest.raises(ConfigError, match=f"{tmp_path}/no: does not exist"):
            planned.directory(tmp_path / "no" / "deeper", mode=0o700)
        assert planned.read(tmp_path / "no" / "file") is None
        assert planned.names(tmp_path / "no") == []
        assert not planned.remove(tmp_path / "no" / "file")


@pytest.mark.parametrize("path", ["relative", "/tmp/../etc"])
def test_only_plain_absolute_paths_are_taken(path: str) -> None:
    with pytest.raises(ConfigError, match="is no absolute path"):
        files.open_directory(Path(path))


def refuses(path: Path, reason: str) -> None:
    """Neither read nor written, by whichever door."""
    with pytest.raises(ConfigError, match=reason):
        files.read(path)
    with Transaction() as planned, pytest.raises(ConfigError, match=reason):
        planned.write(path, b"x", mode=0o600)


def test_a_link_in_place_of_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"untouched")
    (tmp_path / "users.json").symlink_to(tmp_path / "target")
    refuses(tmp_path / "users.json", "is a link")
    assert (tmp_path / "target").read_bytes() == b"untouched"


def test_what_is_no_ordinary_file_is_refused_and_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    refuses(tmp_path / "fifo", "is no ordinary file")
    refuses(tmp_path / "folder", "is no ordinary file")
    refuses(tmp_path / "folder" / ".." / "x", "without")


def test_a_link_of_our_own_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "short").symlink_to("real")
    (tmp_path / "long").symlink_to(tmp_path / "short")
    (tmp_path / "real" / "file").write_bytes(b"x")
    assert files.read(tmp_path / "long" / "file") == b"x"
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(ConfigError, match="too many links"):
        files.read(tmp_path / "loop" / "file")
    with pytest.raises(ConfigError, match="'file' is no directory"):
        files.read(tmp_path / "real" / "file" / "deeper")


def test_a_link_where_others_can_write_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "serve").symlink_to(tmp_path / "secret")
    for mode in (0o777, 0o1777, 0o770):
        shared.chmod(mode)
        with pytest.raises(ConfigError, match="'serve' is a link that others could have put there"):
            files.read(shared / "serve" / "users.json")


def test_nobody_is_led_out_of_a_folder_of_another_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (tmp_path / "shadow").write_bytes(b"a secret of ours")
    (tmp_path / "etc").mkdir()
    (theirs / "serve").symlink_to(tmp_path / "etc")
    (theirs / "users.json").symlink_to(tmp_path / "shadow")
    os.link(tmp_path / "shadow", theirs / "hard.json")
    if ROOT:
        os.chown(theirs, NOBODY, NOBODY)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: NOBODY)
    with pytest.raises(ConfigError, match="others could have put there"):
        files.read(theirs / "serve" / "users.json")
    refuses(theirs / "users.json", "is a link")
    refuses(theirs / "hard.json", "has a second name")


def test_owners_are_given_kept_and_inherited(tmp_path: Path) -> None:
    with Transaction() as planned:
        planned.directory(tmp_path / "theirs", mode=0o750, owner=Owner(NOBODY, NOBODY))
        planned.write(tmp_path / "theirs" / "new", b"y", mode=0o600)
        planned.directory(tmp_path / "theirs" / "made", mode=0o750)
        planned.write(tmp_path / "theirs" / "made" / "new", b"y", mode=0o600)
        planned.write(tmp_path / "given", b"y", mode=0o600, owner=Owner(NOBODY, NOBODY))
        if not ROOT:
            with pytest.raises(FatalError, match="nothing was changed: Operation not permitted"):
                planned.commit()
            assert list(tmp_path.iterdir()) == []
            return
        planned.commit()
    with Transaction() as planned:
        planned.write(tmp_path / "given", b"kept", mode=0o640)
        planned.write(tmp_path / "theirs" / "later", b"inherited", mode=0o600)
        planned.commit()
    for path in tmp_path.rglob("*"):
        assert (path.stat().st_uid, path.stat().st_gid) == (NOBODY, NOBODY)


def test_a_wrong_owner_is_mended_and_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "file").chmod(0o600)
    found = (tmp_path / "file").stat()
    with Transaction() as planned:
        assert not planned.write(tmp_path / "file", b"x", mode=0o600, owner=Owner(found.st_uid, found.st_gid))
        assert planned.write(tmp_path / "file", b"x", mode=0o600, owner=Owner(NOBODY, NOBODY))
        (told,) = planned.changes
    assert told.before == f"mode: 0600\nowner: {found.st_uid}:{found.st_gid}\nx"
    assert told.after == f"mode: 0600\nowner: {NOBODY}:{NOBODY}\nx"


def test_two_runs_do_not_change_one_folder_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transaction, "_LOCK_PATIENCE", 0.1)
    with Transaction() as first:
        first.write(tmp_path / "a", b"1", mode=0o600)
        with Transaction() as second, pytest.raises(RetryableError, match="being changed by another process"):
            second.write(tmp_path / "a", b"2", mode=0o600)
    with Transaction() as third:
        third.write(tmp_path / "a", b"3", mode=0o600)


def test_many_runs_at_once_end_in_one_of_their_states(tmp_path: Path) -> None:
    failures: list[TwError] = []

    def run(number: int) -> None:
        try:
            for _ in range(5):
                with Transaction() as planned:
                    planned.write(tmp_path / "a", str(number).encode(), mode=0o600)
                    planned.write(tmp_path / "b", str(number).encode(), mode=0o600)
                    planned.commit()
        except TwError as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


@pytest.mark.usefixtures("no_leaks")
async def test_descriptors_are_closed_whatever_happens(tmp_path: Path) -> None:
    for _ in range(3):
        with contextlib.suppress(ZeroDivisionError), Transaction() as planned:
            planned.write(tmp_path / "a", b"x", mode=0o600)
            planned.directory(tmp_path / "d", mode=0o700)
            planned.commit()
            raise ZeroDivisionError
        with pytest.raises(ConfigError), Transaction() as planned:
            planned.read(tmp_path / "a" / "b" / "c")
        assert files.read(tmp_path / "a") == b"x"
