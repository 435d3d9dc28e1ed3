# Copyright: (c) The Tunnel Whisperer maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The agent as wheels: all that a host of one Python version and architecture installs, in one archive, by hash."""

from __future__ import annotations

import hashlib
import io
import re
import shutil
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ansible_collections.tunnel_whisperer.tw.plugins.plugin_utils.cache import COLLECTION, Cache, PartError

PYTHONS = ("3.11", "3.12", "3.13")
MACHINES = ("x86_64", "aarch64")
_GLIBC = range(17, 29)
_EPOCH = "1767225600"
_NOT_SOURCE = re.compile(r"^(\..*|__pycache__|dist|build|.*\.egg-info|.*\.pyc|.*_pb2\.pyi?|.*_pb2_grpc\.pyi?)$")
PIP = ("-m", "pip", "--disable-pip-version-check", "--no-input", "--quiet")
"""How pip is run. Its settings and environment count, so that an index of one's own is used."""


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class Target:
    """A kind of host: its Python (3.11) and its architecture."""

    python: str
    machine: str

    def __post_init__(self) -> None:
        if self.python not in PYTHONS:
            raise PartError(
                f"the agent runs on Python {', '.join(PYTHONS)}, and this host has {self.python} (agent_python)"
            )
        if self.machine not in MACHINES:
            raise PartError(f"the agent runs on {' and '.join(MACHINES)}, and this host is {self.machine}")

    @property
    def tag(self) -> str:
        """The name of the interpreter in wheels: cp311."""
        return "cp" + self.python.replace(".", "")

    def applies(self, marker: str) -> bool:
        """Whether a requirement with this marker is one for such a host."""
        # ansible-core brings it along; the import test of ansible-test, which loads this file too, does not.
        from packaging.markers import Marker, default_environment

        environment = {
            **{key: str(value) for key, value in default_environment().items()},
            "implementation_name": "cpython",
            "os_name": "posix",
            "platform_machine": self.machine,
            "platform_python_implementation": "CPython",
            "platform_system": "Linux",
            "python_full_version": f"{self.python}.0",
            "python_version": self.python,
            "sys_platform": "linux",
        }
        return Marker(marker).evaluate(environment)

    def pip_options(self) -> Iterator[str]:
        """What tells `pip download` to fetch for such a host and not for this one."""
        yield from ("--python-version", self.python, "--implementation", "cp")
        for abi in (self.tag, "abi3", "none"):
            yield from ("--abi", abi)
        for platform in (f"manylinux2014_{self.machine}", *(f"manylinux_2_{minor}_{self.machine}" for minor in _GLIBC)):
            yield from ("--platform", platform)


@dataclass(frozen=True)
class Source:
    """The agent's source as read at one moment, so that what is hashed is what is built."""

    files: dict[str, bytes]

    @classmethod
    def read(cls, folder: Path) -> Source:
        """Read the agent's folder, without what tools left in it."""

        def walk(path: Path) -> Iterator[Path]:
            for entry in sorted(path.iterdir()):
                if _NOT_SOURCE.match(entry.name):
                    continue
                if entry.is_dir():
                    yield from walk(entry)
                else:
                    yield entry

        try:
            return cls({str(path.relative_to(folder)): path.read_bytes() for path in walk(folder)})
        except OSError as error:
            raise PartError(f"the agent's source cannot be read: {error}") from error

    @cached_property
    def key(self) -> str:
        """A hash over all names and contents."""
        total = hashlib.sha256()
        for name, content in self.files.items():
            total.update(f"{name}\0{len(content)}\0".encode() + content)
        return total.hexdigest()

    @cached_property
    def version(self) -> str:
        """The agent's version, from its pyproject.toml."""
        found = re.search(rb'(?m)^version = "([^"]+)"', self.files.get("pyproject.toml", b""))
        if found is None:
            raise PartError("the agent's pyproject.toml names no version")
        return found[1].decode()

    def write(self, folder: Path) -> None:
        """Write all files below a folder."""
        for name, content in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def pick(lock: str, target: Target) -> str:
    """Take from a lock what such a host needs, markers resolved and comments dropped."""
    kept = []
    for entry in re.split(r"(?m)^(?=[A-Za-z0-9])", lock):
        body = "\n".join(line for line in entry.splitlines() if line.strip() and not line.strip().startswith("#"))
        if not body:
            continue
        head, hashes = body.split(" \\\n", 1)
        name, _separator, marker = (part.strip() for part in head.partition(";"))
        if not marker or target.applies(marker):
            kept.append(f"{name} \\\n{hashes}\n")
    return "".join(kept)


def only(lock: str, name: str) -> str:
    """Take one project's entry from a lock."""
    found = re.search(rf"(?m)^{re.escape(name)}==.*(?:\n .*--hash.*)+", lock)
    if found is None:
        raise PartError(f"the lock has no entry for {name}")
    return found[0] + "\n"


@dataclass(frozen=True)
class Wheelhouse:
    """Makes the archives. `collection` is the folder that holds `agent/` and `requirements/`."""

    cache: Cache
    target: Target
    collection: Path = COLLECTION

    @cached_property
    def source(self) -> Source:
        """The agent's source."""
        return Source.read(self.collection / "agent")

    @cached_property
    def _build_lock(self) -> str:
        return (self.collection / "requirements/build.txt").read_text()

    @cached_property
    def _requirements(self) -> str:
        return pick((self.collection / "requirements/agent.txt").read_text(), self.target)

    @cached_property
    def release(self) -> str:
        """The name of what a host installs; any change of the source, the lock or the host's kind changes it."""
        pip = only(self._build_lock, "pip")
        key = hashlib.sha256(f"{self._requirements}\0{pip}\0{self.source.key}".encode()).hexdigest()
        return f"{self.source.version}-{self.target.tag}-{self.target.machine}-{key[:12]}"

    def archive(self) -> Path:
        """Return the archive with all wheels and the list of their hashes."""
        return (
            self.cache.folder(f"wheelhouse-{self.release}", f"Wheels of release {self.release}", self._pack)
            / "wheels.tar"
        )

    def _pack(self, part: Path) -> None:
        dependencies = self._dependencies()
        wheel = next(self._agent().glob("*.whl"))
        name, version = wheel.name.split("-")[:2]
        listed = f"{self._requirements}{name}=={version} \\\n    --hash=sha256:{sha256(wheel)}\n"
        with tarfile.open(part / "wheels.tar", "w") as archive:
            for path in sorted([*dependencies.glob("*.whl"), wheel], key=lambda path: path.name):
                add_to_archive(archive, path.name, path.read_bytes())
            add_to_archive(archive, "requirements.txt", listed.encode())

    def _dependencies(self) -> Path:
        wanted = self._requirements + only(self._build_lock, "pip")
        key = hashlib.sha256(wanted.encode()).hexdigest()[:12]
        name = f"wheels-{self.target.tag}-{self.target.machine}-{key}"
        return self.cache.folder(
            name, f"Wheels for Python {self.target.python} on {self.target.machine}", self._download
        )

    def _download(self, part: Path) -> None:
        (part / "wanted.txt").write_text(self._requirements + only(self._build_lock, "pip"))
        what = f"Fetching wheels for Python {self.target.python} on {self.target.machine}"
        self.cache.say(what)
        options = ("--no-deps", "--require-hashes", "--only-binary", ":all:", "--dest", part, "-r", part / "wanted.txt")
        self.cache.run([self._tools(), *PIP, "download", *self.target.pip_options(), *options], what=what, cwd=part)

    def _agent(self) -> Path:
        return self.cache.folder(
            f"agent-{self.source.version}-{self.source.key[:12]}", "The agent's wheel", self._build
        )

    def _build(self, part: Path) -> None:
        tools = self._tools()
        self.cache.say(f"Building the agent's wheel {self.source.version}")
        tree = part / "tree"
        self.source.write(tree)
        command: list[str | Path] = [tools, "-m", "hatchling", "build", "--target", "wheel", "--directory", part]
        self.cache.run(command, what="Building the agent's wheel", cwd=tree, env={"SOURCE_DATE_EPOCH": _EPOCH})
        shutil.rmtree(tree)

    def _tools(self) -> Path:
        return build_tools(self.cache, self._build_lock)


def build_tools(cache: Cache, lock: str) -> Path:
    """Return the Python that has pip and the builders of the agent's wheel, in the versions of the lock."""
    kind = f"{sys.implementation.cache_tag}\0{sys.base_prefix}\0{lock}"
    name = f"build-tools-{hashlib.sha256(kind.encode()).hexdigest()[:12]}"

    def make(part: Path) -> None:
        cache.say("Making the environment that fetches and builds wheels")
        try:
            cache.run([sys.executable, "-m", "venv", part / "venv"], what="Making a virtual environment", cwd=part)
        except PartError as error:
            raise PartError(f"{error}\non Debian and Ubuntu: apt-get install python3-venv") from error
        (part / "lock.txt").write_text(lock)
        options = ("--require-hashes", "--only-binary", ":all:", "-r", part / "lock.txt")
        cache.run(
            [part / "venv/bin/python", *PIP, "install", *options], what="Installing pip and the builders", cwd=part
        )

    return cache.folder(name, "The environment that builds wheels", make) / "venv/bin/python"


def add_to_archive(archive: tarfile.TarFile, name: str, content: bytes, *, mode: int = 0o644) -> None:
    """Put a file into an archive that is the same whenever and by whomever it is made."""
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    entry.mtime = int(_EPOCH)
    entry.mode = mode
    archive.addfile(entry, io.BytesIO(content))
