"""The files an operator would write for these hosts: inventory, ansible.cfg, and the passphrase of the PKI."""

from __future__ import annotations

import secrets
from typing import Any

import yaml

from tests.lab.commands import run
from tests.lab.hosts import address_for_operator
from tests.lab.paths import ROOT, Place, cache_dir
from tests.lab.plan import Plan
from tests.lab.services import ACME_DIRECTORY

CONFIG = """\
[defaults]
inventory = {inventory}
collections_path = {collections}
duplicate_dict_key = error
host_key_checking = True
interpreter_python = /usr/bin/python3
retry_files_enabled = False
forks = 10
timeout = 20
callback_result_format = yaml

[inventory]
any_unparsed_is_failed = True

[connection]
pipelining = True

[ssh_connection]
ssh_args = -F /dev/null -o ControlMaster=auto -o ControlPersist=60s
control_path_dir = {control_paths}
"""


def inventory(plan: Plan, place: Place) -> dict[str, Any]:
    """Return the inventory as data."""
    relay = plan.kind("relay")[0].name
    relays = {
        host.name: {"ansible_host": address_for_operator(plan, host), "relay_name": plan.public_name(host)}
        for host in plan.kind("relay")
    }
    servers = {
        host.name: {
            "ansible_host": address_for_operator(plan, host),
            "server_tenant": plan.tenants[host.name],
            "server_relay": relay,
        }
        for host in plan.kind("server")
    }
    clients = {host.name: {"ansible_host": address_for_operator(plan, host)} for host in plan.kind("client")}
    return {
        "all": {
            "vars": {
                "ansible_user": "root",
                "ansible_ssh_private_key_file": str(place.key),
                "ansible_ssh_common_args": f"-o UserKnownHostsFile={place.known_hosts} -o StrictHostKeyChecking=yes "
                "-o GlobalKnownHostsFile=/dev/null -o IdentitiesOnly=yes",
                "control_dir": str(place.dir / "control"),
                "control_cache_dir": str(cache_dir()),
                "control_pki_passphrase": f"{{{{ lookup('ansible.builtin.file', '{place.dir}/pki-passphrase') }}}}",
                "relay_acme_directory": ACME_DIRECTORY,
                "relay_acme_root": str(place.acme_api_root),
                "relay_acme_email": "operator@example.test",
                "relay_tls_root": str(place.acme_root),
                "tw_apps": {"postgres": {"ports": [5432], "description": "the database at the server"}},
                "tw_users": users(plan),
            },
            "children": {
                "tw_relays": {"hosts": relays},
                "tw_servers": {"hosts": servers},
                "tw_clients": {"hosts": clients},
            },
        }
    }


def users(plan: Plan) -> dict[str, dict[str, Any]]:
    """Return ``tw_users``."""
    found: dict[str, dict[str, Any]] = {}
    for user in plan.users:
        found[user.name] = {"tenant": user.tenant, "apps": ["postgres"], "host": user.host}
        if user.local_port:
            found[user.name]["local_ports"] = {5432: user.local_port}
    return found


def write(plan: Plan, place: Place) -> None:
    """Write the operator's files; the passphrase is made once."""
    passphrase = place.dir / "pki-passphrase"
    if not passphrase.exists():
        passphrase.touch(mode=0o600)
        passphrase.write_text(f"{secrets.token_urlsafe(24)}\n")
    text = yaml.safe_dump(inventory(plan, place), sort_keys=False, width=120)
    place.inventory.write_text(f"# Written by the lab '{place.name}'; an operator's own looks the same.\n{text}")
    place.ansible_cfg.write_text(
        CONFIG.format(
            inventory=place.inventory,
            collections=run([str(ROOT / "scripts/collections")]).stdout.strip(),
            control_paths=place.dir / "cp",
        )
    )
