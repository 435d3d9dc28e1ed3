"""Where a lab keeps its things, what its parts are called on the machine, and the locks that keep two runs apart."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.lab.commands import LabError

ROOT = Path(__file__).resolve().parents[2]
LOCKS = Path("/run/lock")


def base_dir() -> Path:
    """Return the folder that holds all labs (``TW_LAB_DIR`` moves it)."""
    return Path(os.environ.get("TW_LAB_DIR") or "/var/lib/tunnel-whisperer-lab")


def cache_dir() -> Path:
    """Return the project's cache, shared by all labs and clones (``TW_CACHE`` moves it)."""
    if given := os.environ.get("TW_CACHE"):
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tunnel-whisperer"


@dataclass(frozen=True, slots=True)
class Place:
    """Names and folders of one lab; nothing here looks at the machine."""

    name: str
    dir: Path

    @classmethod
    def of(cls, name: str) -> Place:
        """Name the places of a lab; its name becomes part of socket paths, which have to be short."""
        if not re.fullmatch(r"[a-z](-?[a-z0-9]){0,19}", name) or len(name) > 20:
            raise LabError(
                f"a lab cannot be called '{name}'",
                hint="take up to 20 lower-case letters, digits and single dashes, a letter first, as in NAME=demo",
            )
        return cls(name, base_dir() / name)

    def namespace(self, node: str) -> str:
        """Return the network namespace of a node."""
        return f"tw.{self.name}.{node}"

    @property
    def uplink(self) -> str:
        """The interface on the machine that leads to the lab's control node (its name may have 15 characters)."""
        return f"twup-{hashlib.sha256(self.name.encode()).hexdigest()[:10]}"

    @property
    def nft_table(self) -> str:
        """The lab's nftables table on the machine."""
        return f"tw_lab_{self.name.replace('-', '_')}"

    @property
    def cgroup(self) -> str:
        """The lab's cgroup, in every hierarchy it uses."""
        return f"tw-lab-{self.name}"

    @property
    def lock(self) -> Path:
        """The lock that ``up`` and ``down`` of this lab take."""
        return LOCKS / f"tunnel-whisperer-lab-{self.name}.lock"

    @property
    def description(self) -> Path:
        """What the lab was asked to be."""
        return self.dir / "lab.json"

    @property
    def key(self) -> Path:
        """The operator's SSH key."""
        return self.dir / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        """Host keys, known because the lab made them."""
        return self.dir / "known_hosts"

    @property
    def ssh_config(self) -> Path:
        """How plain ``ssh`` reaches the hosts."""
        return self.dir / "ssh_config"

    @property
    def inventory(self) -> Path:
        """The inventory an operator would write."""
        return self.dir / "inventory.yml"

    @property
    def ansible_cfg(self) -> Path:
        """Ansible's settings for this lab."""
        return self.dir / "ansible.cfg"

    @property
    def acme_root(self) -> Path:
        """The root that signs what the lab's ACME CA issues."""
        return self.dir / "acme" / "issuer.crt"

    @property
    def acme_api_root(self) -> Path:
        """The root that signs the ACME directory's own certificate."""
        return self.dir / "acme" / "api.crt"

    def host_dir(self, host: str) -> Path:
        """Return the folder with a host's tree."""
        return self.dir / "hosts" / host

    def tree(self, host: str) -> Path:
        """Return where a host's tree is mounted."""
        return self.host_dir(host) / "root"

    def log(self, part: str) -> Path:
        """Return the log of a host or service."""
        return self.dir / "logs" / f"{part}.log"

    def pid_file(self, part: str) -> Path:
        """Return the file that a part's keeper holds locked while it lives."""
        return self.dir / "run" / f"{part}.pid"


@contextmanager
def locked(path: Path, *, keep: bool = True) -> Iterator[None]:
    """Hold an exclusive lock on ``path``; with ``keep=False`` the file goes away with the lock."""
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        try:
            if os.stat(path).st_ino == os.fstat(descriptor).st_ino:
                break
        except FileNotFoundError:
            pass
        os.close(descriptor)
    try:
        yield
    finally:
        if not keep:
            path.unlink(missing_ok=True)
        os.close(descriptor)
