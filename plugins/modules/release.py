#!/usr/bin/python
# Copyright: (c) The Tunnel Whisperer maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts the agent onto a host; the action plugin of the same name builds and pushes it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release
short_description: Put the agent onto a host
description:
  - Builds the agent's wheel on the control node, fetches the wheels of its lock for the host's Python and architecture,
    and pushes them as one archive when the host lacks that release.
  - The host installs offline and by hash into a folder of its own, and switches to it by a link once C(tw --version)
    answers there.
  - The release's name tells the source, the lock and the kind of host, so nothing is done when none of them changed.
version_added: 0.1.0
author:
  - The Tunnel Whisperer maintainers (@tunnel-whisperer)
options:
  cache:
    description: The control node's cache.
    type: path
    required: true
  python:
    description: The interpreter on the host to make the agent's environment with.
    type: path
    required: true
  python_version:
    description: Its version; found out by itself on the control node.
    type: str
  architecture:
    description: The host's architecture; found out by itself on the control node.
    type: str
  releases:
    description: The folder with the releases. Without one the wheels are only brought into the cache.
    type: path
  current:
    description: The link to the release in use.
    type: path
  command:
    description: A link to the command C(tw).
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
- name: Install the agent
  tunnel_whisperer.tw.release:
    cache: "{{ control_cache_dir }}"
    python: "{{ ansible_facts.python.executable }}"
    python_version: "{{ ansible_facts.python_version }}"
    architecture: "{{ ansible_facts.architecture }}"
    releases: /opt/tw/releases
    current: /opt/tw/current
    command: /usr/local/bin/tw
"""

RETURN = r"""
release:
  description: The release's name.
  returned: success
  type: str
paths:
  description: The links on the host that were changed, or lead to a release that was made, or would be in check mode.
  returned: when O(releases) is given
  type: list
  elements: str
interpreter:
  description:
    - The Python of the agent as it is after this task; empty where there is none yet, as in a first check mode run.
  returned: when O(releases) is given
  type: str
"""
