#!/usr/bin/python
# Copyright: (c) The Tunnel Whisperer maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts a program that the control node has onto a host; the action plugin of the same name fetches and pushes it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: binary
short_description: Put Caddy or Xray onto a host
description:
  - Fetches or builds the program on the control node, once, and keeps it in the cache there.
  - Pushes it to the host when the host has another one or none, checks its SHA-256 there again, and switches a link.
  - A host needs no route to anywhere for this.
version_added: 0.1.0
author:
  - The Tunnel Whisperer maintainers (@tunnel-whisperer)
options:
  name:
    description: The program.
    type: str
    choices: [caddy, xray]
    required: true
  settings:
    description:
      - What the operator decided about it; role P(tunnel_whisperer.tw.control#role) makes this of its variables.
    type: dict
    required: true
    suboptions:
      version:
        description: The version.
        type: str
        required: true
      source:
        description:
          - Where it comes from. V(auto) takes a file if there is one, the release if its hash is known, else builds it.
        type: str
        choices: [auto, file, release, build]
        default: auto
      file:
        description: For each architecture, a file on the control node, the program itself or the makers' archive.
        type: dict
        default: {}
      sha256:
        description: For each architecture, the SHA-256 of that file or of the release's archive.
        type: dict
        default: {}
      url:
        description: Where releases lie instead of at the makers'; C({version}) and C({machine}) are filled in.
        type: str
        default: ''
  cache:
    description: The control node's cache.
    type: path
    required: true
  architecture:
    description: The host's architecture; the control node's own where it is left out.
    type: str
    choices: [x86_64, aarch64]
  dest:
    description: The folder on the host. Without one the program is only fetched into the cache.
    type: path
extends_documentation_fragment:
  - ansible.builtin.action_common_attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  platform:
    platforms: linux
"""

EXAMPLES = r"""
- name: Put Xray in place
  tunnel_whisperer.tw.binary:
    name: xray
    settings: "{{ control_binaries.xray }}"
    cache: "{{ control_cache_dir }}"
    architecture: "{{ ansible_facts.architecture }}"
    dest: /opt/tw/bin
"""

RETURN = r"""
path:
  description: The program, named after its version. On the host, or in the cache when there is no O(dest).
  returned: when it is known
  type: str
link:
  description: The link to it that does not change its name.
  returned: when O(dest) is given
  type: str
paths:
  description: That link, when it or what it leads to was changed, or would be in check mode.
  returned: when O(dest) is given
  type: list
  elements: str
sha256:
  description: Its SHA-256.
  returned: when it is known
  type: str
source:
  description: Which source it came from.
  returned: success
  type: str
"""
