#!/usr/bin/python
# Copyright: (c) The Tunnel Whisperer maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cells of a relay's tenants: system users, keys and configurations."""

from __future__ import annotations

DOCUMENTATION = r"""
module: cells
short_description: Furnish the cells of a relay's tenants
version_added: 0.1.0
description:
  - Gives each tenant its system user, its host key, and the configurations of its Xray and its sshd, all tenants in one
    call, and the operator's entry likewise. What the two programs are to read is shown to them first; nothing is
    replaced unless all of it is valid.
  - Tenants that are on the relay and not named are kept, with their identity as it is and their configuration as this
    version writes it. One whose files are damaged is left as it is, with a warning, and holds up nobody else; it is
    mended by a run that has its server in it.
  - The units that run a cell are the business of M(tunnel_whisperer.tw.units).
author:
  - The Tunnel Whisperer maintainers (@tunnel-whisperer)
options:
  tenants:
    description:
      - Tenants that have a cell here.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description:
          - Name of the tenant, one lower-case DNS label of at most 24 characters.
        type: str
        required: true
      identity:
        description:
          - The identity of the tenant's server. Without one a cell that is here is kept, and none is made.
        type: dict
        default: {}
        suboptions:
          uuid:
            description:
              - Its VLESS UUID.
            type: str
          public_key:
            description:
              - Its SSH public key (Ed25519).
            type: str
  absent:
    description:
      - Tenants whose cells are cleared away. Their units have to be stopped before.
    type: list
    elements: str
    default: []
  operators:
    description:
      - The operator's identities, which come in by an entry of their own.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description:
          - Name of the identity.
        type: str
        required: true
      identity:
        description:
          - What it shows.
        type: dict
        required: true
        suboptions:
          uuid:
            description:
              - Its VLESS UUID.
            type: str
            required: true
  xray:
    description:
      - The Xray that validates the configurations.
    type: path
    default: /opt/tw/bin/xray
extends_documentation_fragment:
  - tunnel_whisperer.tw.attributes
attributes:
  diff_mode:
    description: Tells what has changed, or would change, when in diff mode.
    support: full
    details:
      - Secrets are masked.
"""

EXAMPLES = r"""
- name: Furnish the cells
  tunnel_whisperer.tw.cells:
    tenants:
      - name: acme
        identity:
          uuid: "{{ acme_uuid }}"
          public_key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIG8w0p5Z0n3r4m8V3yq7mVx0YcXgk0fH9m0kq2b3c4d5
"""

RETURN = r"""
tenants:
  description:
    - Each tenant by its name, those kept and those cleared away included, as C(changed), C(action) (created, updated,
      removed or empty), C(files) (those written), C(host_key) (type and key; missing as long as there is none) and
      C(problem) (why it is left as it is; missing where it is not).
  type: dict
  returned: always
operator:
  description: The operator's entry, as C(changed) and C(files).
  type: dict
  returned: always
paths:
  description: All files that were written, or would be in check mode, those of the operator's entry included.
  type: list
  elements: str
  returned: always
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Collection
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tunnel_whisperer.tw.plugins.module_utils import relay_cell, relay_host
from ansible_collections.tunnel_whisperer.tw.plugins.module_utils.relay_files import Tree, read_text

SBIN = ["/usr/sbin", "/sbin"]
TENANTS = f"{relay_cell.ETC}/tenants"
HOST_KEY = "ssh_host_ed25519_key"


def problems(tenants: list[dict[str, Any]], absent: list[str], operators: list[dict[str, Any]]) -> list[str]:
    """Name everything that is wrong with what was given, by item and field."""
    found = []
    seen: set[str] = set()
    for index, tenant in enumerate(tenants):
        name, identity = tenant["name"], tenant["identity"]
        checks = {"name": relay_cell.tenant_problem(name) or ("it is given twice" if name in seen else "")}
        if any(identity.values()):
            checks["identity.uuid"] = relay_cell.uuid_problem(identity["uuid"])
            checks["identity.public_key"] = relay_cell.public_key_problem(identity["public_key"])
        found += [f"tenants[{index}] ({name}): {field}: {problem}" for field, problem in checks.items() if problem]
        if name in absent:
            found.append(f"tenants[{index}] ({name}): it is to be absent as well")
        seen.add(name)
    found += [f"absent ({name}): {p}" for name in absent if (p := relay_cell.tenant_problem(name))]
    for index, operator in enumerate(operators):
        if problem := relay_cell.uuid_problem(operator["identity"]["uuid"]):
            found.append(f"operators[{index}] ({operator['name']}): identity.uuid: {problem}")
    return found


class Relay:
    """The relay's users and files, as they are."""

    def __init__(self, module: AnsibleModule) -> None:
        self._module = module
        self._ssh = relay_host.openssh_version("".join(self.run("ssh", "-V", check=False)))

    def run(self, program: str, *words: str, check: bool = True) -> tuple[str, str]:
        """Run a program of the host's; return what it said."""
        path = self._module.get_bin_path(program, required=check, opt_dirs=SBIN)
        if path is None:
            return "", ""
        code, out, err = self._module.run_command([path, *words], check_rc=check)
        return ("", "") if code and check else (out, err)

    def kept(self, besides: Collection[str]) -> tuple[dict[str, dict[str, str]], dict[str, str]]:
        """Read the identities of the tenants that are here, and what is wrong with those that cannot be read."""
        found: dict[str, dict[str, str]] = {}
        damaged: dict[str, str] = {}
        here = set(os.listdir(TENANTS)) if os.path.isdir(TENANTS) else set()
        for name in sorted(here.difference(besides)):
            texts = {file: read_text(f"{TENANTS}/{name}/{file}") or "" for file in ("xray.json", "authorized_keys")}
            try:
                found[name] = relay_cell.read_tenant(texts)
            except ValueError as error:
                damaged[name] = f"{TENANTS}/{name}/{error}"
        return found, damaged

    def wanted(self, name: str, tenant: dict[str, str]) -> dict[str, str]:
        """Return the files of a cell as they should be."""
        self._module.no_log_values.add(tenant["uuid"])
        return {
            "xray.json": relay_cell.xray_config(name, tenant["uuid"]),
            "sshd_config": relay_cell.sshd_config(name, self._ssh),
            "authorized_keys": relay_cell.authorized_keys(tenant["public_key"]),
        }

    @staticmethod
    def _entry(file: str, user: str) -> list[str] | None:
        lines = (read_text(file) or "").splitlines()
        return next((line.split(":") for line in lines if line.startswith(f"{user}:")), None)

    def user_made(self, name: str) -> bool:
        """Make sure of a tenant's system user; tell whether it had to be made or mended."""
        user = f"tw-{name}"
        entry = self._entry("/etc/shadow", user)
        # A password of "!" would make sshd turn the key away; "*" means no password, and nobody locked out.
        if entry is not None and entry[1] == "*":
            return False
        if not self._module.check_mode:
            if entry is None:
                options = ["--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent"]
                self.run("useradd", *options, "--shell", "/usr/sbin/nologin", "--password", "*", user)
            else:
                self.run("usermod", "--password", "*", user)
        return True

    def host_key(self, name: str) -> bool:
        """Make sure of a cell's host key; tell whether it had to be made."""
        path = f"{TENANTS}/{name}/{HOST_KEY}"
        if os.path.exists(path) and os.path.exists(f"{path}.pub"):
            return False
        if not self._module.check_mode:
            with tempfile.TemporaryDirectory(dir=f"{TENANTS}/{name}", prefix=".key") as folder:
                self.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", f"{folder}/{HOST_KEY}")
                for file, mode in ((HOST_KEY, 0o640), (f"{HOST_KEY}.pub", 0o644)):
                    os.chmod(f"{folder}/{file}", mode)
                    shutil.chown(f"{folder}/{file}", "root", f"tw-{name}")
                    os.replace(f"{folder}/{file}", f"{TENANTS}/{name}/{file}")
        return True

    def validate(self, name: str, file: str, text: str) -> None:
        """Show a configuration to the program that is to read it, as the user that is to read it."""
        xray, sshd = self._module.params["xray"], self._module.get_bin_path("sshd", required=True, opt_dirs=SBIN)
        commands = {"xray.json": [xray, "run", "-test", "-c"], "sshd_config": [sshd, "-t", "-f"]}
        if file not in commands:
            return
        user = f"tw-{name}"
        with tempfile.NamedTemporaryFile("w", suffix=f".{file}") as draft:
            draft.write(text)
            draft.flush()
            shutil.chown(draft.name, user)
            command = [*commands[file], draft.name]
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                check=False,
                stdin=subprocess.DEVNULL,
                user=user,
                group=user,
                extra_groups=[],
                cwd="/",
            )
        if done.returncode:
            said = (done.stdout + done.stderr).strip()
            self._module.fail_json(msg=f"{name}: {command[0]} does not accept its {file}: {said}")

    def remove(self, name: str) -> bool:
        """Clear a tenant away, files and user; tell whether there was anything."""
        path, user = f"{TENANTS}/{name}", f"tw-{name}"
        here = os.path.exists(path)
        known = self._entry("/etc/passwd", user) is not None
        if not self._module.check_mode:
            if here:
                shutil.rmtree(path)
            if known:
                self.run("userdel", user)
        return here or known


def furnish(module: AnsibleModule, relay: Relay, trees: dict[str, Tree], result: dict[str, Any]) -> None:
    """Users and keys first, then all configurations: shown to their readers, then all put in place."""
    for name in result["tenants"]:
        outcome, tree = result["tenants"][name], trees[name]
        new = not os.path.exists(tree.folder)
        made = relay.user_made(name)
        if not module.check_mode:
            tree.make_folder()
        files = sorted([*tree.pending, *([HOST_KEY] if relay.host_key(name) else [])])
        outcome.update(changed=made or bool(files), files=files)
        outcome["action"] = "" if not outcome["changed"] else "created" if new else "updated"
    for name, tree in trees.items():
        for file in tree.pending:
            if not module.check_mode:
                relay.validate(name, file, tree.wanted[file])
    for tree in trees.values():
        if not module.check_mode:
            tree.write()


ENTRY: dict[str, Any] = {"type": "list", "elements": "dict", "default": []}
NAME: dict[str, Any] = {"type": "str", "required": True}
SERVER: dict[str, Any] = {"uuid": {"type": "str", "no_log": True}, "public_key": {"type": "str", "no_log": False}}
OPERATOR: dict[str, Any] = {"uuid": {"type": "str", "required": True, "no_log": True}}
ARGUMENTS: dict[str, Any] = {
    "tenants": {**ENTRY, "options": {"name": NAME, "identity": {"type": "dict", "default": {}, "options": SERVER}}},
    "absent": {"type": "list", "elements": "str", "default": []},
    "operators": {
        **ENTRY,
        "options": {"name": NAME, "identity": {"type": "dict", "required": True, "options": OPERATOR}},
    },
    "xray": {"type": "path", "default": "/opt/tw/bin/xray"},
}


def settle(module: AnsibleModule, relay: Relay) -> dict[str, Any]:
    """Bring users and files to what was asked for; return the module's result."""
    given, absent, operators = (module.params[key] for key in ("tenants", "absent", "operators"))
    told = {t["name"]: t["identity"] for t in given if any(t["identity"].values())}
    kept, damaged = relay.kept(besides=[*told, *absent])
    tenants = {**kept, **told}
    trees = {n: Tree(f"{TENANTS}/{n}", relay.wanted(n, t), group=f"tw-{n}") for n, t in sorted(tenants.items())}
    result: dict[str, Any] = {
        "tenants": {n: {"changed": False, "files": []} for n in trees},
        "operator": {"changed": False, "files": []},
    }
    if operators:
        text = relay_cell.operator_config({o["name"]: o["identity"]["uuid"] for o in operators})
        trees[relay_cell.OPERATOR] = Tree(f"{relay_cell.ETC}/operator", {"xray.json": text}, group="tw-operator")
        result["operator"] = {
            "changed": bool(trees[relay_cell.OPERATOR].pending),
            "files": sorted(trees[relay_cell.OPERATOR].pending),
        }

    result["diff"] = [entry for tree in trees.values() for entry in tree.diff(relay_cell.masked)]
    if operators and not module.check_mode:
        trees[relay_cell.OPERATOR].make_folder()
    furnish(module, relay, trees, result)
    for name, problem in damaged.items():
        remedy = "run again with its server in the run, or name it in relay_tenants_absent"
        module.warn(f"tenant {name} is left as it is: {problem}; {remedy}")
        result["tenants"][name] = {"changed": False, "action": "", "files": [], "problem": problem}
    for name in absent:
        gone = relay.remove(name)
        result["tenants"][name] = {"changed": gone, "action": "removed" if gone else "", "files": []}
    for name in [*tenants, *damaged]:
        if key := read_text(f"{TENANTS}/{name}/{HOST_KEY}.pub"):
            result["tenants"][name]["host_key"] = relay_cell.bare_key(key)
    written = {f"{TENANTS}/{name}": outcome["files"] for name, outcome in result["tenants"].items()}
    written[f"{relay_cell.ETC}/operator"] = result["operator"]["files"]
    result["paths"] = [f"{folder}/{file}" for folder, files in written.items() for file in files]
    result["changed"] = result["operator"]["changed"] or any(t["changed"] for t in result["tenants"].values())
    return result


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    module.run_command_environ_update = {"LC_ALL": "C", "LANG": "C"}
    if module.check_mode:  # the control node cannot make a UUID yet when nothing is installed there
        module.params["operators"] = [o for o in module.params["operators"] if o["identity"]["uuid"]]
    given, absent, operators = (module.params[key] for key in ("tenants", "absent", "operators"))
    if found := problems(given, absent, operators):
        module.fail_json(msg="\n".join(found))
    module.exit_json(**settle(module, Relay(module)))


if __name__ == "__main__":
    main()
