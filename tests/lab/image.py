"""The Debian tree that every host of a lab starts from: built once by debootstrap, cached under what made it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tests.lab.commands import LabError, run
from tests.lab.paths import cache_dir, locked
from tests.lab.report import Report

RELEASE = "bookworm"
PACKAGES = (
    "acl",
    "ca-certificates",
    "curl",
    "dbus",
    "iproute2",
    "iputils-ping",
    "netcat-openbsd",
    "nftables",
    "openssh-server",
    "openssl",
    "postgresql",
    "postgresql-client",
    "procps",
    "python3",
    "sudo",
    "systemd",
    "systemd-sysv",
)
# Run in the new tree. What must differ between hosts goes; what only a database host needs is off; what has nothing to
# do here (no console to log in at, no mirror to update from) does not start.
FINISH = """\
set -eu
rm -f /etc/ssh/ssh_host_* /etc/machine-id /var/lib/dbus/machine-id /etc/hostname /etc/resolv.conf
systemctl disable postgresql.service
systemctl mask console-getty.service getty@.service getty.target systemd-networkd.service systemd-resolved.service \
  apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer fstrim.timer dpkg-db-backup.timer
mkdir -p /root/.ssh
chmod 700 /root/.ssh
rm -rf /var/cache/apt/archives/*.deb /var/lib/apt/lists/*
"""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides what the image contains."""

    release: str
    architecture: str
    mirror: str
    packages: tuple[str, ...] = PACKAGES
    finish: str = FINISH

    @property
    def key(self) -> str:
        """Return the image's name in the cache."""
        text = json.dumps(asdict(self), sort_keys=True)
        return f"{self.release}-{self.architecture}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


@dataclass(frozen=True, slots=True)
class Source:
    """Where packages come from, and the keys they are checked with."""

    mirror: str
    keyring: Path


def choose_source(targets: str, release: str) -> tuple[str, str] | None:
    """Pick a Debian mirror from ``apt-get indextargets`` lines ``uri|codename|origin|sourcesentry``.

    A target of the wanted release is best; a mirror of another release of Debian has the wanted one as well.
    """
    rows = [row for line in targets.splitlines() if len(row := line.split("|")) == 4]
    exact = [row for row in rows if row[1] == release]
    other = [row for row in rows if row[2] == "Debian" and "security" not in row[1]]
    for uri, _codename, _origin, entry in exact + other:
        return uri.rstrip("/"), entry.rpartition(":")[0]
    return None


def signed_by(sources_entry: str) -> Path | None:
    """Find the keyring that a sources file names."""
    match = re.search(r"signed-by\s*[:=]\s*(/[^\s\]]+)", sources_entry, re.IGNORECASE)
    return Path(match[1]) if match else None


def find_source(release: str = RELEASE) -> Source:
    """Take the mirror and the keyring from this machine's own apt settings, or from ``TW_LAB_MIRROR``."""
    mirror, entry = os.environ.get("TW_LAB_MIRROR", ""), ""
    if not mirror:
        form = "$(REPO_URI)|$(CODENAME)|$(ORIGIN)|$(SOURCESENTRY)"
        targets = run(["apt-get", "indextargets", "--format", form, "Created-By: Packages"]).stdout
        if not (chosen := choose_source(targets, release)):
            raise LabError(
                f"apt on this machine knows no mirror of Debian, so the hosts' image ({release}) cannot be built",
                hint="set TW_LAB_MIRROR to the address of a Debian mirror you trust",
            )
        mirror, entry = chosen
    named = signed_by(Path(entry).read_text()) if entry and Path(entry).is_file() else None
    for keyring in (named, Path("/usr/share/keyrings/debian-archive-keyring.gpg")):
        if keyring and keyring.is_file():
            return Source(mirror, keyring)
    raise LabError(
        "the keys that Debian signs its releases with are not on this machine",
        hint="apt-get install debian-archive-keyring",
    )


def mirror_name() -> str:
    """Return the name of the host that packages come from."""
    return urlsplit(find_source().mirror).hostname or ""


def architecture() -> str:
    """Return Debian's name of this machine's architecture."""
    return run(["dpkg", "--print-architecture"]).stdout.strip()


def ensure(report: Report) -> Path:
    """Return the image's folder; build it first if the cache has none."""
    source = find_source()
    recipe = Recipe(RELEASE, architecture(), source.mirror)
    image = cache_dir() / "images" / recipe.key
    if image.is_dir():
        report.say(f"image: {recipe.key}, from the cache")
        return image
    with locked(image.with_name(f"{recipe.key}.lock"), keep=False):
        if not image.is_dir():
            with report.step(f"image: building {recipe.key} with debootstrap (once, one or two minutes)"):
                build(recipe, source, image)
    return image


def build(recipe: Recipe, source: Source, image: Path) -> None:
    """Build beside the final place and move there when all is done, so a half-built image is never used."""
    half = image.with_name(f"{image.name}.part")
    log = image.with_name(f"{image.name}.log")
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir(parents=True)
    half.chmod(0o755)
    # What debootstrap mounts in the tree, even one that is interrupted, goes with its mount namespace.
    result = run(
        [
            *("unshare", "--mount", "debootstrap"),
            "--variant=minbase",
            f"--arch={recipe.architecture}",
            f"--keyring={source.keyring}",
            f"--include={','.join(recipe.packages)}",
            recipe.release,
            str(half),
            source.mirror,
        ],
        check=False,
        timeout=1800,
        env={"LC_ALL": "C.UTF-8"},
    )
    log.write_text(result.stdout + result.stderr)
    if result.returncode != 0:
        more = half / "debootstrap" / "debootstrap.log"
        said = more.read_text(errors="replace") if more.is_file() else result.stdout + result.stderr
        raise LabError(
            f"debootstrap could not build {recipe.release} (all it said: {log}):\n"
            + "\n".join(said.splitlines()[-15:]),
            hint="check that this machine reaches its Debian mirror (apt-get update), then run the same command again",
        )
    run(["unshare", "--mount", "chroot", str(half), "/bin/sh", "-c", recipe.finish])
    half.rename(image)
