"""A control node, a server and a client in one folder: what modules are asked there, and judges of the outcome."""

from __future__ import annotations

import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Result = dict[str, Any]

PASSPHRASE = "correct horse battery"
APPS = {"postgres": {"ports": [5432], "local_ports": {"5432": 15432}}}
BRIDGES = [{"name": "postgres", "host": "127.0.0.1", "port": 5432, "local_port": 15432}]


class Site:
    """The folders of a control node, a server and a client, and the arguments that go with them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.serve = root / "serve"
        self.connect = root / "connect"
        self.control = root / "control"
        self.users_file = root / "state" / "users.json"
        self.relay = self.control / "relays" / "relay.example.com"

    def tenant(self, **more: Any) -> dict[str, Any]:
        return {"dir": str(self.serve), "tenant": "acme", **more}

    def authority(self, **more: Any) -> dict[str, Any]:
        base = {"dir": str(self.control), "relay_name": "relay.example.com", "passphrase": PASSPHRASE}
        return {**base, "tenants": {"acme": {"csr": "{{ tenant.csr }}"}}, **more}

    def prepare(self, **more: Any) -> dict[str, Any]:
        return {"dir": str(self.connect), "contexts": {"acme": {"tenant": "acme", "user": "alice"}}, **more}

    def users(self, **more: Any) -> dict[str, Any]:
        alice = {
            "host": "client1",
            "public_key": "{{ client.contexts.acme.ssh_public_key }}",
            "csr": "{{ client.contexts.acme.csr }}",
            "apps": ["postgres"],
        }
        base = {"tenant": "acme", "identity_dir": str(self.serve), "users_file": str(self.users_file), "apps": APPS}
        return {**base, "users": {"alice": alice}, "return_uuids": True, **more}

    def install(self, **more: Any) -> dict[str, Any]:
        acme: dict[str, Any] = {
            "tenant": "acme",
            "user": "alice",
            "certificate": "{{ admitted.users.alice.certificate }}",
            "relay": {"host": "relay.example.com", "roots": "{{ authority.root_certificate }}", "links": 3},
            "server_host_keys": ["{{ tenant.host_public_key }}"],
            "bridges": BRIDGES,
        }
        base = {"dir": str(self.connect), "contexts": {"acme": acme}, "xray": sys.executable}
        return {**base, "uuids": {"acme": "{{ admitted.uuids.alice }}"}, **more}

    def steps(self) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
        """Everything from nothing to a context that is installed."""
        return [
            ("tenant", self.tenant(), {"register": "tenant"}),
            ("contexts", self.prepare(), {"register": "client"}),
            ("authority", self.authority(), {"register": "authority"}),
            ("tenant", self.tenant(ca_certificate="{{ authority.tenants.acme.certificate }}"), {"register": "tenant"}),
            ("users", self.users(), {"register": "admitted"}),
            ("contexts", self.install(), {"register": "installed"}),
        ]


@dataclass(frozen=True)
class Made:
    """A site where everything was made, and what each step told."""

    site: Site
    results: list[Result]


def tool(*words: str | Path, given: str | None = None) -> str:
    run = subprocess.run(words, input=given, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def verify(root: Path, chain: Path) -> None:
    """Have openssl verify a leaf with what follows it in its file."""
    tool("openssl", "verify", "-purpose", "sslclient", "-x509_strict", "-CAfile", root, "-untrusted", chain, chain)


def new_key(path: Path) -> Path:
    tool("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path)
    return path


def weak_key(path: Path) -> Path:
    tool("openssl", "genrsa", "-out", path, "1024")
    path.chmod(0o600)
    return path


def fails(results: list[Result], *reasons: str) -> None:
    """The last call failed for these reasons, and told each on a line of its own."""
    result = results[-1]
    assert result.get("failed"), result
    assert [problem for problem, reason in zip(result["problems"], reasons, strict=True) if reason not in problem] == []
    assert not result["changed"]
    assert "Traceback" not in result["msg"]


def snapshot(site: Site) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in site.root.rglob("*") if path.is_file()}


def modes(folder: Path) -> dict[str, str]:
    """The mode of everything below a folder."""
    return {str(p.relative_to(folder)): f"{stat.S_IMODE(p.lstat().st_mode):o}" for p in sorted(folder.rglob("*"))}


def told(result: Result) -> str:
    """All that is shown of a change."""
    return "".join(part["before"] + part["after"] for part in result["diff"])
