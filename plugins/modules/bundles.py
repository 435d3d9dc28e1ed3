#!/usr/bin/python
# Copyright: (c) The Tunnel Whisperer maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: bundles
short_description: Put the bundles that a server made onto the control node
version_added: 0.1.0
author:
  - The Tunnel Whisperer maintainers (@tunnel-whisperer)
description:
  - Writes the bundles that M(tunnel_whisperer.tw.users) made in this run into a folder of the control node, all of them
    or none, each as C(<tenant>-<user>.age), readable by their owner alone. They are sealed, so nothing plain is there.
  - A file that is there is overwritten only by a bundle that was made anew, as its content is of no more use then.
extends_documentation_fragment:
  - tunnel_whisperer.tw.attributes
attributes:
  action:
    description: The work is done on the controller.
    support: full
  diff_mode:
    description: Tells what has changed, or would change, when in diff mode.
    support: none
    details:
      - The files are sealed.
options:
  dir:
    description:
      - The folder on the control node. It is made if need be.
    type: path
    required: true
  tenant:
    description:
      - The tenant's name.
    type: str
    required: true
  users:
    description:
      - The users as M(tunnel_whisperer.tw.users) returned them.
    type: dict
    required: true
  bundles:
    description:
      - The bundles as M(tunnel_whisperer.tw.users) returned them.
    type: dict
    required: true
seealso:
  - module: tunnel_whisperer.tw.users
  - module: tunnel_whisperer.tw.handover
"""

EXAMPLES = r"""
- name: Put the bundles onto the control node
  tunnel_whisperer.tw.bundles:
    dir: ~/.local/share/tunnel-whisperer/bundles
    tenant: acme
    users: "{{ admitted.users }}"
    bundles: "{{ admitted.bundles }}"
  register: handed
"""

RETURN = r"""
made:
  description: The bundles of this run. C(file) is where it lies, the rest is as M(tunnel_whisperer.tw.users) told it.
  returned: success
  type: list
  elements: dict
  sample:
    - user: dora
      tenant: acme
      file: /srv/tunnel-whisperer/bundles/acme-dora.age
      context: acme
      kind: enrolment
      lock: passphrase
      until: "2026-11-28T12:00:00Z"
missing:
  description: Users who have not enrolled yet and whose file is not on this control node.
  returned: success
  type: list
  elements: dict
  sample:
    - {user: erin, tenant: acme, until: "2026-11-28T12:00:00Z"}
"""
