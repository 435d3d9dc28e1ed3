"""The modules that run on hosts, run here as programs as Ansible runs them."""

from __future__ import annotations

import hashlib
import importlib
import io
import json
import platform
import sys
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils import basic

Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    def call(name: str, args: Mapping[str, object], *, check: bool = False) -> dict[str, Any]:
        given = {
            **args,
            "_ansible_check_mode": check,
            "_ansible_remote_tmp": "/tmp",
            "_ansible_keep_remote_files": False,
        }
        monkeypatch.setattr(basic, "_ANSIBLE_ARGS", json.dumps({"ANSIBLE_MODULE_ARGS": given}).encode())
        monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy", raising=False)
        module = importlib.import_module(f"ansible_collections.tunnel_whisperer.tw.plugins.modules.{name}")
        with pytest.raises(SystemExit):
            module.main()
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        return result

    return call


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
        assert run("binary_host", args, check=True)["changed"]
        assert not (tmp_path / "bin").exists()
        assert run("binary_host", self.look(args))["missing"]
        first = run("binary_host", args)
        assert (first["changed"], first["missing"]) == (True, False)
        assert (tmp_path / "bin/xray").readlink() == Path("xray-2")
        assert (tmp_path / "bin/xray").read_bytes() == b"program"
        assert not run("binary_host", self.look(args))["changed"]

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
        assert not (tmp_path / "releases").exists()
        assert run("release_host", args)["missing"]
        done = run("release_host", {**args, **self.archive(tmp_path, "1.0")})
        assert (done["changed"], done["missing"]) == (True, False)
        assert done["interpreter"] == str(tmp_path / "current/bin/python")
        assert (tmp_path / "bin/tw").resolve() == (tmp_path / "releases/1.0-a/bin/tw").resolve()
        assert not run("release_host", args)["changed"]

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
