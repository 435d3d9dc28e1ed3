#!/usr/bin/python
# Copyright (c) The Tunnel Whisperer maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the users of a tenant may do, and whether they can."""

from __future__ import annotations

DOCUMENTATION = r"""
module: users_info
short_description: Tell who may reach what on a tenant's server
version_added: 0.1.0
author:
  - The Tunnel Whisperer maintainers (@tunnel-whisperer)
description:
  - Returns the users and apps of a server, whoever made them. No secret is among what is returned.
extends_documentation_fragment:
  - ansible.builtin.action_common_attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  platform:
    platforms: linux
requirements:
  - The agent's package, in the Python that runs the module. Where it is missing, check mode returns nothing, and a real
    run fails.
options:
  users:
    description:
      - Tell of these users only; of all by default. One that is not there is left out.
    type: list
    elements: str
  users_file:
    description:
      - The file the users are kept in. One that is missing has no users.
    type: path
    default: /var/lib/tw/serve/users.json
seealso:
  - module: tunnel_whisperer.tw.users
"""

EXAMPLES = r"""
- name: See who may come in
  tunnel_whisperer.tw.users_info:
  vars:
    ansible_python_interpreter: /opt/tw/current/bin/python
  register: known

- name: Name those whose access has ended
  ansible.builtin.debug:
    msg: "{{ known.users | dict2items | selectattr('value.state', 'eq', 'ended') | map(attribute='key') }}"
"""

RETURN = r"""
users:
  description:
    - Users by name, with what they are granted, as module M(tunnel_whisperer.tw.users) takes it.
    - C(state) is V(active), V(not yet), V(ended), V(enrolment ran out), or says until when the user may enrol.
      C(active) says whether it may come in now.
    - C(targets) is all it may reach, C(key) the fingerprint of its SSH key, C(origin) who made it.
  returned: success
  type: dict
  sample:
    alice:
      state: active
      active: true
      targets: ['127.0.0.1:5432']
      apps: [postgres]
      ports: []
      local_ports: {}
      not_before:
      expires: "2027-02-01T00:00:00Z"
      single_session: "off"
      comment: ""
      enrolment:
      certificate_until: "2027-01-15T09:00:00Z"
      key: SHA256:nThbg6kXUpJWGl7E1IGOCspRomTxdCARLviKw6E5SY8
      origin: inventory
apps:
  description: Apps by name, each with its C(targets), its C(origin), and in C(users) those who have it.
  returned: success
  type: dict
  sample:
    postgres:
      targets: ['127.0.0.1:5432']
      ports: [5432]
      host: 127.0.0.1
      local_ports: {}
      description: The orders database
      origin: inventory
      users: [alice]
generation:
  description: Grows by one with every change of the file.
  returned: success
  type: int
problems:
  description: What is wrong, one line each.
  returned: failure
  type: list
  elements: str
"""

from typing import Any

from ansible_collections.tunnel_whisperer.tw.plugins.module_utils import engine


def execute(call: engine.Call) -> dict[str, Any]:
    """Read the users file."""
    from tunnel_whisperer.provision.overview import tell_apps, tell_users
    from tunnel_whisperer.users.store import load_users

    users = load_users(call.path("users_file"))
    return {
        "users": tell_users(users, call.now, call.params["users"]),
        "apps": tell_apps(users),
        "generation": users.generation,
    }


def without_agent(params: dict[str, Any]) -> dict[str, Any]:
    """Tell what can be told when the engine is not there."""
    return {"changed": False, "users": {}, "apps": {}, "generation": 0}


def main() -> None:
    """Run the module."""
    engine.run(
        {
            "users": {"type": "list", "elements": "str"},
            "users_file": {"type": "path", "default": "/var/lib/tw/serve/users.json"},
        },
        execute,
        without_agent=without_agent,
    )


if __name__ == "__main__":
    main()
