#!/usr/bin/python
# Copyright: (c) The Tunnel Whisperer maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: variables
short_description: Find misspelt names of variables
version_added: 0.1.0
author:
  - The Tunnel Whisperer maintainers (@tunnel-whisperer)
description:
  - A misspelt variable is no error to Ansible; the default counts instead. This compares the names of a host's
    variables with those that the roles of this collection know, and fails for any that is nearly, but not quite, one.
  - Variables of one's own that look like none of ours are let be.
extends_documentation_fragment:
  - tunnel_whisperer.tw.attributes
  - tunnel_whisperer.tw.attributes.action
seealso:
  - module: tunnel_whisperer.tw.plan
"""

EXAMPLES = r"""
- name: Look for misspelt variables
  tunnel_whisperer.tw.variables:
"""

RETURN = r"""
misspelt:
  description: The misspelt names, each with the one that was likely meant.
  returned: failure
  type: dict
  sample: {relay_acme_direcotry: relay_acme_directory}
"""
