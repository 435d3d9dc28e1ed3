#!/usr/bin/python
# Copyright: (c) The Tunnel Whisperer maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: handover
short_description: Show which bundles were made
version_added: 0.1.0
author:
  - The Tunnel Whisperer maintainers (@tunnel-whisperer)
description:
  - Prints for each bundle of this run its file, whom it is for, until when it is of use, and what that person types.
extends_documentation_fragment:
  - tunnel_whisperer.tw.attributes
  - tunnel_whisperer.tw.attributes.action
options:
  made:
    description:
      - The bundles of this run, as M(tunnel_whisperer.tw.bundles) returned them.
    type: list
    elements: dict
    required: true
  missing:
    description:
      - Users without a file, as M(tunnel_whisperer.tw.bundles) returned them.
    type: list
    elements: dict
    default: []
seealso:
  - module: tunnel_whisperer.tw.bundles
"""

EXAMPLES = r"""
- name: Say which bundles were made
  tunnel_whisperer.tw.handover:
    made: "{{ handed.made }}"
    missing: "{{ handed.missing }}"
"""

RETURN = r"""
"""
