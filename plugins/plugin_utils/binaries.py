# Copyright: (c) The Tunnel Whisperer maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Caddy and Xray on the control node: from a file, from the official release, or built from pinned sources."""

from __future__ import annotations

import hashlib
import json
import shutil
import tarfile
import urllib.error
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from ansible.module_utils.urls import open_url
from ansible_collections.tunnel_whisperer.tw.plugins.plugin_utils import golang
from ansible_collections.tunnel_whisperer.tw.plugins.plugin_utils.cache import COLLECTION, Cache, PartError
from ansible_collections.tunnel_whisperer.tw.plugins.plugin_utils.pythons import MACHINES, sha256

SOURCES = ("auto", "file", "release", "build")
SETTINGS: dict[str, Any] = {
    "version": {"type": "str", "required": True},
    "source": {"type": "str", "choices": list(SOURCES), "default": "auto"},
    "file": {"type": "dict", "default": {}},
    "sha256": {"type": "dict", "default": {}},
    "url": {"type": "str", "default": ""},
}
"""The operator's variables for one program, as an argument specification."""

_TIMEOUT = 60
_CHUNK = 1 << 20
_REPORT_EVERY = 16 * _CHUNK


@dataclass(frozen=True)
class Release:
    """Where the makers publish a program, and what they call each architecture there."""

    url: str
    machines: Mapping[str, str]


RELEASES = {
    "xray": Release(
        "https://github.com/XTLS/Xray-core/releases/download/v{version}/Xray-linux-{machine}.zip",
        {"x86_64": "64", "aarch64": "arm64-v8a"},
    ),
    "caddy": Release(
        "https://github.com/caddyserver/caddy/releases/download/v{version}/caddy_{version}_linux_{machine}.tar.gz",
        {"x86_64": "amd64", "aarch64": "arm64"},
    ),
}


@dataclass(frozen=True)
class Wanted:
    """One program for one architecture, as the operator's variables describe it."""

    name: str
    version: str
    machine: str
    source: str = "auto"
    files: Mapping[str, str] = field(default_factory=dict)
    sha256: Mapping[str, str] = field(default_factory=dict)
    url: str = ""

    @classmethod
    def from_settings(cls, name: str, machine: str, settings: Mapping[str, Any]) -> Wanted:
        """Make one from arguments that fit SETTINGS."""
        return cls(
            name=name,
            version=settings["version"],
            machine=machine,
            source=settings["source"],
            files={key: str(value) for key, value in settings["file"].items()},
            sha256={key: str(value) for key, value in settings["sha256"].items()},
            url=settings["url"],
        )

    def __post_init__(self) -> None:
        if self.name not in RELEASES:
            raise PartError(f"no program {self.name!r} is known; there are {', '.join(RELEASES)}")
        if self.source not in SOURCES:
            raise PartError(f"control_{self.name}_source is {self.source!r}; accepted: {', '.join(SOURCES)}")
        if self.machine not in MACHINES:
            raise PartError(f"{self.name} is had for {' and '.join(MACHINES)}, and this host is {self.machine}")
        for variable, given in (("file", self.files), ("sha256", self.sha256)):
            if unknown := set(given) - set(MACHINES):
                raise PartError(f"control_{self.name}_{variable}: {min(unknown)!r} is none of {', '.join(MACHINES)}")

    @property
    def recipe(self) -> golang.Recipe:
        """How it is built."""
        return golang.Recipe(COLLECTION / "roles/control/files/build" / self.name)

    def variable(self, setting: str) -> str:
        """Name the operator's variable for this program and architecture."""
        return f"control_{self.name}_{setting}.{self.machine}"

    @property
    def label(self) -> str:
        """What to call it to people."""
        return f"{self.name.capitalize()} {self.version} for {self.machine}"


@dataclass(frozen=True)
class Part:
    """A program in the cache."""

    path: Path
    sha256: str
    source: str


def plan(wanted: Wanted) -> str:
    """Return which source will be taken; raises PartError when the one asked for cannot be."""
    has_file = wanted.machine in wanted.files
    has_hash = wanted.machine in wanted.sha256
    if wanted.source == "auto":
        return "file" if has_file else "release" if has_hash else "build"
    if wanted.source == "file" and not has_file:
        raise PartError(f"{wanted.label}: the source is 'file', but {wanted.variable('file')} is not set")
    if wanted.source == "release" and not has_hash:
        raise PartError(
            f"{wanted.label}: the official release is taken only when its SHA-256 is known: set "
            f"{wanted.variable('sha256')} (or control_{wanted.name}_source to build or file)"
        )
    return wanted.source


def cached(cache: Cache, wanted: Wanted) -> Part | None:
    """Return the program when it is in the cache already."""
    source = plan(wanted)
    folder = cache.root / _name(wanted, source)
    return _read(folder, wanted, source) if folder.is_dir() else None


def obtain(cache: Cache, wanted: Wanted) -> Part:
    """Return the program; fetch or build it first where the cache lacks it."""
    source = plan(wanted)
    maker = {"file": _take, "release": _download, "build": _build}[source]

    def make(part: Path) -> None:
        made = part / wanted.name
        maker(cache, wanted, made)
        made.chmod(0o755)
        facts = {"name": wanted.name, "version": wanted.version, "sha256": sha256(made), "source": source}
        (part / "facts.json").write_text(json.dumps(facts, indent=1))

    return _read(cache.folder(_name(wanted, source), wanted.label, make), wanted, source)


def _name(wanted: Wanted, source: str) -> str:
    """Name the folder after everything that decides what will be in it."""
    if source == "build":
        made_by = wanted.recipe.key
    elif source == "release":
        made_by = f"{_url(wanted)} {wanted.sha256[wanted.machine].lower()}"
    else:
        made_by = sha256(_local(wanted))
    key = hashlib.sha256(made_by.encode()).hexdigest()[:12]
    return f"{wanted.name}-{wanted.version}-{wanted.machine}-{source}-{key}"


def _read(folder: Path, wanted: Wanted, source: str) -> Part:
    try:
        facts = json.loads((folder / "facts.json").read_text())
        path = folder / wanted.name
        if not path.is_file():
            raise FileNotFoundError(path)
        return Part(path, facts["sha256"], source)
    except (OSError, ValueError, KeyError) as error:
        raise PartError(f"{wanted.label}: the cache is damaged ({error}); remove {folder}") from error


def _local(wanted: Wanted) -> Path:
    path = Path(wanted.files[wanted.machine]).expanduser()
    if not path.is_file():
        raise PartError(f"{wanted.label}: {wanted.variable('file')} names {path}, and there is no such file")
    return path


def _url(wanted: Wanted) -> str:
    release = RELEASES[wanted.name]
    return (wanted.url or release.url).format(version=wanted.version, machine=release.machines[wanted.machine])


def _take(_cache: Cache, wanted: Wanted, made: Path) -> None:
    source = _local(wanted)
    _check(source, wanted, str(source))
    _unpack(source, wanted, made)


def _download(cache: Cache, wanted: Wanted, made: Path) -> None:
    url = _url(wanted)
    if not url.startswith("https://"):
        raise PartError(f"{wanted.label}: control_{wanted.name}_url must begin with https://")
    cache.say(f"{wanted.label}: downloading {url}")
    archive = made.with_name("archive")
    try:
        with open_url(url, timeout=_TIMEOUT) as answer, archive.open("wb") as file:
            _copy(cache, wanted, answer, file)
    except (OSError, urllib.error.URLError) as error:
        raise PartError(f"{wanted.label}: {url} could not be fetched: {error}") from error
    _check(archive, wanted, url)
    _unpack(archive, wanted, made)
    archive.unlink()


def _copy(cache: Cache, wanted: Wanted, source: IO[bytes], file: IO[bytes]) -> None:
    done = 0
    while chunk := source.read(_CHUNK):
        file.write(chunk)
        done += len(chunk)
        if done % _REPORT_EVERY < len(chunk):
            cache.say(f"{wanted.label}: {done // _CHUNK} MiB so far")


def _check(path: Path, wanted: Wanted, origin: str) -> None:
    expected = wanted.sha256.get(wanted.machine, "").lower()
    found = sha256(path)
    if expected and found != expected:
        raise PartError(
            f"{wanted.label}: {origin} has SHA-256 {found}, but {wanted.variable('sha256')} says {expected}"
        )


def _unpack(source: Path, wanted: Wanted, made: Path) -> None:
    """Take the program out of a zip or tar archive, or the file itself when it is the program."""
    try:
        if zipfile.is_zipfile(source):
            with zipfile.ZipFile(source) as archive, archive.open(wanted.name) as inside, made.open("wb") as file:
                shutil.copyfileobj(inside, file)
        elif tarfile.is_tarfile(source):
            with tarfile.open(source) as tar:
                found = tar.extractfile(wanted.name)
                if found is None:
                    raise KeyError(f"{wanted.name} is no file there")
                with found, made.open("wb") as file:
                    shutil.copyfileobj(found, file)
        else:
            shutil.copyfile(source, made)
    except (KeyError, tarfile.TarError, zipfile.BadZipFile) as error:
        raise PartError(
            f"{wanted.label}: {source} is an archive without a program {wanted.name} in it ({error})"
        ) from error
    with made.open("rb") as file:
        if file.read(4) != b"\x7fELF":
            raise PartError(f"{wanted.label}: {source} is no program for Linux")


def _build(cache: Cache, wanted: Wanted, made: Path) -> None:
    recipe = wanted.recipe
    if wanted.version != recipe.version:
        raise PartError(
            f"{wanted.label}: the sources pinned in this collection are version {recipe.version}; for another one set "
            f"control_{wanted.name}_file, or control_{wanted.name}_sha256 for the official release"
        )
    golang.build(cache, recipe, wanted.machine, wanted.label, made)
