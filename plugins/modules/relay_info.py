#!/usr/bin/python
# Copyright: (c) The Tunnel Whisperer maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What there is to know of a host before and after it becomes a relay."""

from __future__ import annotations

DOCUMENTATION = r"""
module: relay_info
short_description: Look at a relay's host
version_added: 0.1.0
description:
  - Tells who listens on which TCP port, which addresses the host has, what its sshd is told, which programs are there
    and whether our firewall table is loaded.
  - It works on a bare host, needs nothing but Python there, and changes nothing.
author:
  - The Tunnel Whisperer maintainers (@tunnel-whisperer)
options:
  names:
    description:
      - Names to resolve.
    type: list
    elements: str
    default: []
  host:
    description:
      - Whether to look at the host itself, which needs root. V(false) resolves names only.
    type: bool
    default: true
extends_documentation_fragment:
  - tunnel_whisperer.tw.attributes
attributes:
  diff_mode:
    description: Tells what has changed, or would change, when in diff mode.
    support: none
    details:
      - It changes nothing.
"""

EXAMPLES = r"""
- name: Look at the relay
  tunnel_whisperer.tw.relay_info:
  register: relay

- name: Resolve a name on the control node
  tunnel_whisperer.tw.relay_info:
    names: [relay.example.org]
    host: false
  delegate_to: localhost
"""

RETURN = r"""
resolved:
  description: Addresses of each name; an empty list for one that does not resolve.
  type: dict
  returned: always
host:
  description:
    - What was seen of the host. C(addresses), C(architecture), C(listeners) (each C(address), C(port), C(process),
      C(pid), C(unit)), C(missing) (programs that are not there), C(systemd) (its version, 0 when it is not running),
      C(firewall) (the stamp in our table, empty when it is not loaded), C(sshd) (C(unit), C(version), C(listen),
      C(others), C(set_aside), C(bound), C(had_socket), C(drop_ins), C(socket)), C(tenants) and C(restore_armed).
  type: dict
  returned: when O(host=true)
"""

import glob
import os
import re
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tunnel_whisperer.tw.plugins.module_utils import relay_cell, relay_host

PROGRAMS = ("systemctl", "sshd", "ssh-keygen", "nft", "useradd", "mount", "install")
SBIN = ["/usr/sbin", "/sbin"]


def _firewall(module: AnsibleModule) -> str:
    nft = module.get_bin_path("nft", opt_dirs=SBIN)
    if nft is None:
        return ""
    code, out, _err = module.run_command([nft, "list", "table", "inet", "tw_relay"])
    stamp = re.search(r'comment "tw-relay ([0-9a-f]+)"', out)
    return stamp.group(1) if code == 0 and stamp else ""


def _sshd(module: AnsibleModule) -> dict[str, Any]:
    files = relay_host.sshd_files()
    sshd = module.get_bin_path("sshd", opt_dirs=SBIN)
    effective = module.run_command([sshd, "-T"])[1] if sshd else ""
    ssh = module.get_bin_path("ssh")
    version = relay_host.openssh_version("".join(module.run_command([ssh, "-V"])[1:])) if ssh else (0, 0)
    held = _socket(module)
    main = files.get("/etc/ssh/sshd_config", "")
    others = {path: lines for path, text in files.items() if (lines := relay_host.listen_lines(text))}
    return {
        "unit": next((unit for unit in ("ssh.service", "sshd.service") if _unit_exists(unit)), "ssh.service"),
        "version": list(version),
        # Without /run/sshd, which comes and goes with the service, sshd says nothing; then systemd does.
        "listen": held or re.findall(r"^listenaddress (.+)$", effective, re.MULTILINE),
        "others": others,
        "set_aside": [path for path, text in files.items() if relay_host.SET_ASIDE in text],
        "bound": os.path.exists(relay_host.SSHD_DROP_IN),
        "had_socket": os.path.exists(relay_host.HAD_SOCKET),
        "drop_ins": relay_host.includes_drop_ins(main),
        "socket": bool(held),
    }


def _unit_exists(unit: str) -> bool:
    return any(os.path.exists(os.path.join(d, unit)) for d in ("/usr/lib/systemd/system", "/lib/systemd/system"))


def _socket(module: AnsibleModule) -> list[str]:
    """List what systemd listens on for sshd, now or after the next boot; nothing when sshd does that itself."""
    code, out, _err = module.run_command(["systemctl", "show", "-p", "ActiveState,UnitFileState,Listen", "ssh.socket"])
    if code or not ("ActiveState=active" in out or "UnitFileState=enabled" in out):
        return []
    return re.findall(r"^Listen=(\S+) \(Stream\)$", out, re.MULTILINE) or ["[::]:22"]


def _systemd(module: AnsibleModule) -> int:
    code, out, _err = module.run_command(["systemctl", "--version"])
    found = re.search(r"systemd (\d+)", out)
    return int(found.group(1)) if code == 0 and found else 0


def look(module: AnsibleModule) -> dict[str, Any]:
    """Gather what is to know of this host."""
    missing = [name for name in PROGRAMS if module.get_bin_path(name, opt_dirs=SBIN) is None]
    running = os.path.isdir("/run/systemd/system") and "systemctl" not in missing
    return {
        "addresses": relay_host.addresses(),
        "architecture": os.uname().machine,
        "listeners": relay_host.listeners(),
        "missing": missing,
        "systemd": _systemd(module) if running else 0,
        "firewall": _firewall(module),
        "sshd": _sshd(module) if running else {},
        "tenants": sorted(os.path.basename(path) for path in glob.glob(f"{relay_cell.ETC}/tenants/*")),
        "restore_armed": os.path.exists("/var/lib/tw-relay/restore/armed"),
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "names": {"type": "list", "elements": "str", "default": []},
            "host": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    module.run_command_environ_update = {"LC_ALL": "C", "LANG": "C"}
    result: dict[str, Any] = {"resolved": {name: relay_host.resolve(name) for name in module.params["names"]}}
    if module.params["host"]:
        result["host"] = look(module)
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
