"""Caddy and Xray on the control node: which source is taken, and what is refused."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

import pytest
from ansible_collections.tunnel_whisperer.tw.plugins.plugin_utils import binaries, golang
from ansible_collections.tunnel_whisperer.tw.plugins.plugin_utils.binaries import Wanted, cached, obtain, plan
from ansible_collections.tunnel_whisperer.tw.plugins.plugin_utils.cache import Cache, PartError

PROGRAM = b"\x7fELF and the rest"


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", print)


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "program"
    path.write_bytes(PROGRAM)
    return path


def xray(source: str = "auto", files: dict[str, str] | None = None, sha256: dict[str, str] | None = None) -> Wanted:
    return Wanted("xray", "26.6.1", "x86_64", source=source, files=files or {}, sha256=sha256 or {})


def test_auto_takes_a_file_then_a_release_with_a_known_hash_then_a_build() -> None:
    assert plan(xray(files={"x86_64": "/x"}, sha256={"x86_64": "00"})) == "file"
    assert plan(xray(sha256={"x86_64": "00"})) == "release"
    assert plan(xray()) == "build"
    assert plan(xray(files={"aarch64": "/x"}, sha256={"aarch64": "00"})) == "build"


def test_a_release_without_a_known_hash_is_refused_naming_the_variable() -> None:
    with pytest.raises(PartError, match=r"control_xray_sha256\.x86_64"):
        plan(xray("release"))


def test_a_file_that_is_not_named_is_refused_naming_the_variable() -> None:
    with pytest.raises(PartError, match=r"control_xray_file\.x86_64 is not set"):
        plan(xray("file"))


def test_a_file_that_is_not_there_is_named(cache: Cache) -> None:
    with pytest.raises(PartError, match="/nowhere/xray, and there is no such file"):
        obtain(cache, xray(files={"x86_64": "/nowhere/xray"}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "nginx"}, "no program 'nginx'"),
        ({"source": "guess"}, "control_xray_source is 'guess'; accepted: auto, file, release, build"),
        ({"machine": "riscv64"}, "this host is riscv64"),
        ({"sha256": {"amd64": "00"}}, "control_xray_sha256: 'amd64' is none of x86_64, aarch64"),
    ],
)
def test_nonsense_is_refused_in_words(change: dict[str, object], message: str) -> None:
    with pytest.raises(PartError, match=message):
        Wanted(**{"name": "xray", "version": "1", "machine": "x86_64", **change})  # type: ignore[arg-type] # on purpose


def test_a_wrong_checksum_says_both_and_leaves_nothing(cache: Cache, program: Path) -> None:
    wanted = xray(files={"x86_64": str(program)}, sha256={"x86_64": "00" * 32})
    found = hashlib.sha256(PROGRAM).hexdigest()
    with pytest.raises(PartError, match=rf"has SHA-256 {found}, but control_xray_sha256\.x86_64 says {'00' * 32}"):
        obtain(cache, wanted)
    assert cached(cache, wanted) is None


def test_a_file_may_be_the_program_or_an_archive_of_it(cache: Cache, program: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(program, "xray")
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as tar:
        entry = tarfile.TarInfo("xray")
        entry.size = len(PROGRAM)
        tar.addfile(entry, io.BytesIO(PROGRAM))
    for file in (program, tmp_path / "a.zip", tmp_path / "a.tar.gz"):
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        wanted = xray(files={"x86_64": str(file)}, sha256={"x86_64": digest.upper()})
        assert cached(cache, wanted) is None
        part = obtain(cache, wanted)
        assert (part.path.read_bytes(), part.source) == (PROGRAM, "file")
        assert part.sha256 == hashlib.sha256(PROGRAM).hexdigest()
        assert part.path.stat().st_mode & 0o777 == 0o755
        assert cached(cache, wanted) == part


def test_an_archive_without_the_program_and_a_file_that_is_none_are_refused(cache: Cache, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("README", "nothing here")
    with pytest.raises(PartError, match="an archive without a program xray"):
        obtain(cache, xray(files={"x86_64": str(tmp_path / "a.zip")}))
    (tmp_path / "page.html").write_text("<html>not found</html>")
    with pytest.raises(PartError, match="no program for Linux"):
        obtain(cache, xray(files={"x86_64": str(tmp_path / "page.html")}))


def test_a_download_goes_over_https_only(cache: Cache) -> None:
    wanted = Wanted("caddy", "2.11.9", "x86_64", sha256={"x86_64": "00"}, url="http://mirror.test/{version}-{machine}")
    with pytest.raises(PartError, match="control_caddy_url must begin with https://"):
        obtain(cache, wanted)


def test_a_version_that_is_not_pinned_is_not_built(cache: Cache) -> None:
    with pytest.raises(PartError, match=r"pinned in this collection are version 26\.6\.1"):
        obtain(cache, Wanted("xray", "99.0.0", "x86_64"))


@pytest.mark.parametrize("name", sorted(binaries.RELEASES))
def test_the_recipes_are_pinned(name: str) -> None:
    recipe = Wanted(name, "1", "x86_64").recipe
    assert recipe.go >= (1, 26)
    module = recipe.package.rsplit("/cmd/", 1)[0].removesuffix("/main")
    assert f"\n\t{module} v" in (recipe.folder / "go.mod").read_text()
    assert f"\n{module} v" in "\n" + (recipe.folder / "go.sum").read_text()
    assert "replace" not in (recipe.folder / "go.mod").read_text()


def test_an_old_go_in_path_is_passed_over(cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go = tmp_path / "bin/go"
    go.parent.mkdir()
    go.write_text("#!/bin/sh\necho go1.19.8\n")
    go.chmod(0o755)
    monkeypatch.setenv("PATH", f"{go.parent}:/usr/bin:/bin")
    lock = golang.COLLECTION / "requirements/go.txt"
    key = hashlib.sha256(lock.read_bytes()).hexdigest()[:12]
    monkeypatch.setattr(golang, "build_tools", lambda *_: Path("/no/python"))
    with pytest.raises(PartError, match="Go toolchain"):
        golang.toolchain(cache, Wanted("xray", "1", "x86_64").recipe)
    assert not list(cache.root.glob(f"go-{key}*"))
    go.write_text("#!/bin/sh\necho go1.26.0\n")
    assert golang.toolchain(cache, Wanted("xray", "1", "x86_64").recipe) == go
