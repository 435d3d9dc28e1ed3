# Copyright: (c) The Tunnel Whisperer maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Installing a release of the agent from its archive of wheels, with nothing fetched; standard library only.

Module release_host uses it on managed hosts; the kit for people's own machines carries a copy.
"""

from __future__ import annotations

import glob
import hashlib
import os
import shutil
import subprocess
import tarfile
from dataclasses import dataclass

MARKER = ".complete"
_IMPORT_ALL = """
import importlib, pkgutil, sys
package = importlib.import_module(sys.argv[1])
for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    importlib.import_module(found.name)
"""


class ReleaseError(Exception):
    """A release could not be installed; what was in use stays so. The message says why."""


@dataclass(frozen=True)
class Archive:
    """An archive of wheels: where it lies, its SHA-256, and the version of the agent in it."""

    path: str
    sha256: str
    version: str
    package: str = "tunnel_whisperer"


def complete(folder: str) -> bool:
    """Whether all of a release is there, its interpreter too."""
    return os.path.exists(os.path.join(folder, MARKER)) and os.access(os.path.join(folder, "bin/python"), os.X_OK)


def install(folder: str, archive: Archive, python: str, python_version: str) -> None:
    """Make the release's folder; it is removed again when anything fails. Raises ReleaseError."""
    shutil.rmtree(folder, ignore_errors=True)
    try:
        os.makedirs(os.path.dirname(folder), mode=0o755, exist_ok=True)
        _check(archive, python, python_version)
        _fill(folder, archive, python)
        with open(os.path.join(folder, MARKER), "w"):
            pass
    except (OSError, tarfile.TarError, KeyError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        name = os.path.basename(folder)
        raise ReleaseError(f"release {name} could not be installed; what was in use stays so: {error}") from error


def _check(archive: Archive, python: str, python_version: str) -> None:
    """Compare the archive and the interpreter with what they have to be."""
    with open(archive.path, "rb") as file:
        found = hashlib.sha256(file.read()).hexdigest()
    if found != archive.sha256:
        raise OSError(f"the archive that arrived has SHA-256 {found}, not {archive.sha256}")
    said = _run([python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], python)
    if said.strip() != python_version:
        raise OSError(f"{python} is Python {said.strip()}, not {python_version}")


def _fill(folder: str, archive: Archive, python: str) -> None:
    """Install all wheels by hash, and see that the command answers."""
    _run([python, "-m", "venv", "--without-pip", folder], "Making the environment")
    wheels = os.path.join(folder, ".wheels")
    os.mkdir(wheels, 0o700)
    _unpack(archive.path, wheels)
    own = os.path.join(folder, "bin/python")
    pip = os.path.join(glob.glob(os.path.join(wheels, "pip-*.whl"))[0], "pip")
    options = ["--no-index", "--find-links", wheels, "--require-hashes", "--no-deps", "--disable-pip-version-check"]
    listed = os.path.join(wheels, "requirements.txt")
    _run([own, pip, "install", "--quiet", *options, "-r", listed], "Installing the wheels")
    shutil.rmtree(wheels)
    said = _run([os.path.join(folder, "bin/tw"), "--version"], "The new release's 'tw --version'")
    if archive.version not in said.split():
        raise OSError(f"the new release's 'tw --version' says {said.strip()!r}, not {archive.version}")
    _run([own, "-c", _IMPORT_ALL, archive.package], "Importing all of the new release")


def _unpack(path: str, wheels: str) -> None:
    with tarfile.open(path) as archive:
        for entry in archive:
            source = archive.extractfile(entry)
            if source is None or not entry.isfile() or os.path.basename(entry.name) != entry.name:
                raise KeyError(f"the archive holds {entry.name}")
            with source, open(os.path.join(wheels, entry.name), "wb") as target:
                shutil.copyfileobj(source, target)


def _run(argv: list[str], what: str) -> str:
    """Run a command with nobody's pip settings; raises OSError with the command's own words when it fails."""
    environment = {**os.environ, "PIP_CONFIG_FILE": os.devnull, "LC_ALL": "C.UTF-8"}
    done = subprocess.run(argv, capture_output=True, text=True, errors="replace", env=environment, cwd="/", check=False)
    if done.returncode:
        text = (done.stderr.strip() or done.stdout.strip())[-2000:]
        raise OSError(f"{what} failed with code {done.returncode}: {text}")
    return done.stdout
