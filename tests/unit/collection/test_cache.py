"""The control node's cache: whole or not at all, once, and in words."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest
from ansible_collections.tunnel_whisperer.tw.plugins.plugin_utils.cache import Cache, PartError


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def cache(tmp_path: Path, said: list[str]) -> Cache:
    return Cache(tmp_path / "cache", said.append)


def fill(part: Path) -> None:
    (part / "content").write_text("whole")


def test_a_folder_is_made_once(cache: Cache) -> None:
    calls = []
    for _ in range(2):
        folder = cache.folder("thing", "A thing", lambda part: (calls.append(1), fill(part))[0])
    assert (folder / "content").read_text() == "whole"
    assert len(calls) == 1


def test_nothing_is_left_of_a_folder_that_failed_and_the_next_try_makes_it(cache: Cache) -> None:
    def break_off(part: Path) -> None:
        (part / "content").write_text("half")
        raise PartError("no network")

    with pytest.raises(PartError, match="no network"):
        cache.folder("thing", "A thing", break_off)
    assert [entry.name for entry in cache.root.iterdir() if not entry.name.endswith(".lock")] == []
    assert (cache.folder("thing", "A thing", fill) / "content").read_text() == "whole"


def test_what_a_killed_run_left_is_replaced(cache: Cache) -> None:
    (cache.root / ".thing.part").mkdir(parents=True)
    (cache.root / ".thing.part/stale").touch()
    folder = cache.folder("thing", "A thing", fill)
    assert [entry.name for entry in folder.iterdir()] == ["content"]


def test_two_at_once_make_it_once_and_the_second_says_that_it_waits(cache: Cache, said: list[str]) -> None:
    making, go_on = threading.Event(), threading.Event()
    calls = []

    def slowly(part: Path) -> None:
        calls.append(1)
        making.set()
        assert go_on.wait(10)
        fill(part)

    first = threading.Thread(target=cache.folder, args=("thing", "A thing", slowly))
    second = threading.Thread(target=cache.folder, args=("thing", "A thing", slowly))
    first.start()
    assert making.wait(10)
    second.start()
    while not said:
        second.join(0.05)
    go_on.set()
    first.join(10)
    second.join(10)
    assert len(calls) == 1
    assert said == ["A thing: another process makes it, waiting for that"]


def test_a_cache_that_cannot_be_written_names_the_variable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PartError, match="control_cache_dir"):
        Cache(tmp_path / "file", print).folder("thing", "A thing", fill)


def test_a_command_that_fails_is_reported_with_the_end_of_its_words(cache: Cache, tmp_path: Path) -> None:
    script = "print('one'); print('the reason'); raise SystemExit(3)"
    with pytest.raises(PartError, match=r"Doing it failed: .* ended with 3:\none\nthe reason"):
        cache.run([sys.executable, "-c", script], what="Doing it", cwd=tmp_path)
