"""The modules that run on hosts, run here as programs as Ansible runs them."""

from __future__ import annotations

import hashlib
import io
import platform
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., dict[str, Any]]


class TestBinaryHost:
    @pytest.fixture
    def args(self, tmp_path: Path) -> dict[str, object]:
        program = tmp_path / "pushed"
        program.write_bytes(b"program")
        digest = hashlib.sha256(b"program").hexdigest()
        return {
            "name": "xray",
            "version": "2",
            "sha256": digest,
            "dest": str(tmp_path / "bin"),
            "incoming": str(program),
        }

    def look(self, args: dict[str, object]) -> dict[str, object]:
        return {key: value for key, value in args.items() if key != "incoming"}

    def test_check_then_run_then_again(self, run: Run, args: dict[str, object], tmp_path: Path) -> None:
        assert run("binary_host", args, check=True)["paths"] == [str(tmp_path / "bin/xray")]
        assert not (tmp_path / "bin").exists()
        assert run("binary_host", self.look(args))["missing"]
        first = run("binary_host", args)
        assert (first["changed"], first["missing"]) == (True, False)
        assert (tmp_path / "bin/xray").readlink() == Path("xray-2")
        assert (tmp_path / "bin/xray").read_bytes() == b"program"
        last = run("binary_host", self.look(args))
        assert (last["changed"], last["paths"]) == (False, [])

    def test_what_arrived_broken_is_refused_and_the_old_stays(
        self, run: Run, args: dict[str, object], tmp_path: Path
    ) -> None:
        run("binary_host", args)
        Path(str(args["incoming"])).write_bytes(b"cut")
        result = run("binary_host", {**args, "version": "3", "sha256": "00"})
        assert result["failed"]
        assert "SHA-256" in result["msg"]
        assert (tmp_path / "bin/xray").readlink() == Path("xray-2")

    def test_a_program_changed_on_the_host_is_put_right(
        self, run: Run, args: dict[str, object], tmp_path: Path
    ) -> None:
        run("binary_host", args)
        (tmp_path / "bin/xray-2").write_bytes(b"tampered")
        assert run("binary_host", self.look(args))["missing"]
        assert run("binary_host", args)["changed"]
        assert (tmp_path / "bin/xray").read_bytes() == b"program"

    def test_the_previous_version_stays_until_the_next(self, run: Run, args: dict[str, object], tmp_path: Path) -> None:
        for version in ("1", "2", "3"):
            run("binary_host", {**args, "version": version})
        assert sorted(path.name for path in (tmp_path / "bin").iterdir()) == ["xray", "xray-2", "xray-3"]


class TestReleaseHost:
    """With a `pip` made for the purpose: its wheel is a program that writes the command to install."""

    @pytest.fixture
    def args(self, tmp_path: Path) -> dict[str, object]:
        return {
            "release": "1.0-a",
            "version": "1.0",
            "python": sys.executable,
            "python_version": ".".join(platform.python_version_tuple()[:2]),
            "releases": str(tmp_path / "releases"),
            "current": str(tmp_path / "current"),
            "command": str(tmp_path / "bin/tw"),
            "package": "json",
        }

    def archive(self, tmp_path: Path, says: str) -> dict[str, str]:
        pip = io.BytesIO()
        script = f"""\
import sys, pathlib
tw = pathlib.Path(sys.prefix, 'bin/tw')
tw.write_text('#!/bin/sh\\necho tw {says}\\n')
tw.chmod(0o755)
"""
        with zipfile.ZipFile(pip, "w") as wheel:
            wheel.writestr("pip/__main__.py", script)
        path = tmp_path / f"wheels-{says}.tar"
        with tarfile.open(path, "w") as tar:
            for name, content in (("pip-1-py3-none-any.whl", pip.getvalue()), ("requirements.txt", b"")):
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
        return {"archive": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}

    def test_check_then_run_then_again(self, run: Run, args: dict[str, object], tmp_path: Path) -> None:
        checked = run("release_host", {**args, **self.archive(tmp_path, "1.0")}, check=True)
        assert (checked["changed"], checked["interpreter"]) == (True, "")
        assert checked["paths"] == [str(tmp_path / "current"), str(tmp_path / "bin/tw")]
        assert not (tmp_path / "releases").exists()
        assert run("release_host", args)["missing"]
        done = run("release_host", {**args, **self.archive(tmp_path, "1.0")})
        assert (done["changed"], done["missing"]) == (True, False)
        assert done["interpreter"] == str(tmp_path / "current/bin/python")
        assert (tmp_path / "bin/tw").resolve() == (tmp_path / "releases/1.0-a/bin/tw").resolve()
        last = run("release_host", args)
        assert (last["changed"], last["paths"]) == (False, [])

    def test_a_command_that_leads_elsewhere_is_not_another_release(
        self, run: Run, args: dict[str, object], tmp_path: Path
    ) -> None:
        run("release_host", {**args, **self.archive(tmp_path, "1.0")})
        (tmp_path / "bin/tw").unlink()
        assert run("release_host", args)["paths"] == [str(tmp_path / "bin/tw")]

    def test_a_release_that_does_not_answer_is_removed_and_the_old_stays(
        self, run: Run, args: dict[str, object], tmp_path: Path
    ) -> None:
        run("release_host", {**args, **self.archive(tmp_path, "1.0")})
        result = run("release_host", {**args, "release": "2.0-b", "version": "2.0", **self.archive(tmp_path, "broken")})
        assert result["failed"]
        assert "says 'tw broken', not 2.0" in result["msg"]
        assert [path.name for path in (tmp_path / "releases").iterdir()] == ["1.0-a"]
        assert (tmp_path / "current").readlink() == Path("releases/1.0-a")

    def test_a_release_with_a_part_that_cannot_be_imported_is_refused(
        self, run: Run, args: dict[str, object], tmp_path: Path
    ) -> None:
        result = run("release_host", {**args, "package": "no_such_package", **self.archive(tmp_path, "1.0")})
        assert result["failed"]
        assert "No module named 'no_such_package'" in result["msg"]
        assert not (tmp_path / "current").exists()

    def test_half_an_installation_is_made_anew(self, run: Run, args: dict[str, object], tmp_path: Path) -> None:
        run("release_host", {**args, **self.archive(tmp_path, "1.0")})
        (tmp_path / "releases/1.0-a/.complete").unlink()
        assert run("release_host", args)["missing"]
        assert run("release_host", {**args, **self.archive(tmp_path, "1.0")})["changed"]
        assert (tmp_path / "releases/1.0-a/.complete").exists()

    def test_a_release_whose_python_went_away_is_made_anew(
        self, run: Run, args: dict[str, object], tmp_path: Path
    ) -> None:
        run("release_host", {**args, **self.archive(tmp_path, "1.0")})
        python = tmp_path / "releases/1.0-a/bin/python"
        python.unlink()
        python.symlink_to("/usr/bin/python-that-was-upgraded-away")
        assert run("release_host", args)["missing"]

    def test_one_old_release_is_kept(self, run: Run, args: dict[str, object], tmp_path: Path) -> None:
        for number in ("1.0", "2.0", "3.0"):
            run("release_host", {**args, "release": number, "version": number, **self.archive(tmp_path, number)})
        assert sorted(path.name for path in (tmp_path / "releases").iterdir()) == ["2.0", "3.0"]

    def test_an_archive_that_arrived_broken_is_refused(self, run: Run, args: dict[str, object], tmp_path: Path) -> None:
        archive = self.archive(tmp_path, "1.0")
        Path(archive["archive"]).write_bytes(b"cut")
        result = run("release_host", {**args, **archive})
        assert result["failed"]
        assert "SHA-256" in result["msg"]
        assert not list((tmp_path / "releases").iterdir())

    def test_another_python_than_was_said_is_refused(self, run: Run, args: dict[str, object], tmp_path: Path) -> None:
        result = run("release_host", {**args, "python_version": "3.99", **self.archive(tmp_path, "1.0")})
        assert result["failed"]
        assert "not 3.99" in result["msg"]
