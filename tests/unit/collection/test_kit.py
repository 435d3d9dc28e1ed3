"""The kit for machines that no playbook reaches: what is in it, and what its installer refuses."""

from __future__ import annotations

import importlib.util
import json
import sys
import tarfile
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import pytest
from ansible_collections.tunnel_whisperer.tw.plugins.module_utils import durable, offline_release
from ansible_collections.tunnel_whisperer.tw.plugins.plugin_utils import binaries
from ansible_collections.tunnel_whisperer.tw.plugins.plugin_utils.cache import COLLECTION, PartError
from ansible_collections.tunnel_whisperer.tw.plugins.plugin_utils.kit import Kit

XRAY = binaries.Wanted("xray", "26.6.1", "x86_64")


@pytest.fixture(scope="module")
def installer() -> ModuleType:
    sys.modules.setdefault("offline_release", offline_release)
    sys.modules.setdefault("durable", durable)
    spec = importlib.util.spec_from_file_location("kit_install", COLLECTION / "roles/control/files/kit/install.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["kit_install"] = module
    spec.loader.exec_module(module)
    return module


def house(tmp_path: Path, python: str) -> Any:
    archive = tmp_path / f"{python}.tar"
    archive.write_bytes(python.encode())
    return SimpleNamespace(
        release=f"0.1.0-{python}",
        source=SimpleNamespace(version="0.1.0"),
        target=SimpleNamespace(python=python),
        archive=lambda: archive,
    )


def test_a_kit_holds_all_that_its_installer_asks_for_and_is_always_the_same(tmp_path: Path) -> None:
    program = tmp_path / "xray"
    program.write_bytes(b"a program")
    kit = Kit([house(tmp_path, "3.11"), house(tmp_path, "3.12")], XRAY)
    part = cast(binaries.Part, SimpleNamespace(path=program, sha256="cafe"))
    first, second = tmp_path / "a" / kit.file_name, tmp_path / "b" / kit.file_name
    for path in (first, second):
        kit.write(path, part)
    with tarfile.open(first) as archive:
        names = {name.removeprefix(f"{kit.name}/") for name in archive.getnames()}
        manifest = json.loads(cast(Any, archive.extractfile(f"{kit.name}/manifest.json")).read())
        assert archive.getmember(f"{kit.name}/xray").mode == 0o755
    assert set(manifest["wheels"]) == {"3.11", "3.12"}
    files = {one["file"] for one in manifest["wheels"].values()} | {manifest["xray"]["file"]}
    assert (
        files | {"install.py", "offline_release.py", "durable.py", "tw-connect@.service", "LICENSE", "README.txt"}
        <= names
    )
    with tarfile.open(first) as one, tarfile.open(second) as other:
        assert [(entry.name, entry.mtime) for entry in one] == [(entry.name, entry.mtime) for entry in other]


def test_a_kit_without_a_python_is_refused() -> None:
    with pytest.raises(PartError, match="control_fetch_pythons"):
        Kit([], XRAY)


def test_the_installer_says_what_a_kit_is_not_for(installer: ModuleType) -> None:
    manifest = {"architecture": "x86_64", "wheels": {"3.12": {"file": "w"}, "3.13": {"file": "w"}}}
    assert installer.choose(manifest, "3.12", "x86_64") == {"file": "w"}
    with pytest.raises(installer.InstallError, match="for x86_64, and this machine is aarch64"):
        installer.choose(manifest, "3.12", "aarch64")
    with pytest.raises(installer.InstallError, match=r"Python 3\.12, 3\.13, and this is 3\.11; .*python3\.12 install"):
        installer.choose(manifest, "3.11", "x86_64")


def test_an_altered_xray_is_not_installed(
    installer: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "xray").write_bytes(b"another program")
    monkeypatch.setattr(installer, "HERE", tmp_path)
    place = tmp_path / "bin/xray"
    with pytest.raises(installer.InstallError, match=r"has SHA-256 .* not cafe"):
        installer._install_xray(place, {"file": "xray", "sha256": "cafe"})
    assert not place.exists()


def test_a_person_and_a_machine_have_places_of_their_own(installer: ModuleType, tmp_path: Path) -> None:
    assert installer.layout(system=True, home=tmp_path).current == Path("/opt/tw/current")
    own = installer.layout(system=False, home=tmp_path)
    assert all(tmp_path in path.parents for path in (own.releases, own.current, own.xray, *own.commands))
