#!/usr/bin/python
# Copyright: (c) The Tunnel Whisperer maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: kit
short_description: Pack the agent for machines that no playbook reaches
version_added: 0.1.0
author:
  - The Tunnel Whisperer maintainers (@tunnel-whisperer)
description:
  - Writes one archive with the agent's wheels, Xray and an installer that fetches nothing, for people who use a bridge
    from a machine of their own.
  - The archive's name tells what is in it, so nothing is done when none of that changed. It holds no secret.
options:
  cache:
    description: The control node's cache.
    type: path
    required: true
  dest:
    description: The folder the archive is put into.
    type: path
    required: true
  pythons:
    description: The versions of Python that the machines may have.
    type: list
    elements: str
    required: true
  architecture:
    description: The architecture of the machines.
    type: str
    required: true
  xray:
    description: The settings of Xray, as for M(tunnel_whisperer.tw.binary).
    type: dict
    required: true
extends_documentation_fragment:
  - ansible.builtin.action_common_attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  platform:
    platforms: linux
seealso:
  - module: tunnel_whisperer.tw.release
  - module: tunnel_whisperer.tw.binary
"""

EXAMPLES = r"""
- name: Pack the agent
  tunnel_whisperer.tw.kit:
    cache: ~/.cache/tunnel-whisperer
    dest: ~/kits
    pythons: ["3.11", "3.12"]
    architecture: x86_64
    xray:
      version: "26.6.1"
"""

RETURN = r"""
path:
  description: The archive.
  returned: success
  type: str
  sample: /srv/kits/tw-0.1.0-x86_64-0f3a9c51.tar.gz
"""
