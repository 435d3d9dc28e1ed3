# Copyright (c) The Tunnel Whisperer maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every module says about itself."""

from __future__ import annotations


class ModuleDocFragment:
    """Attributes of the modules."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Tells in check mode what would change, and changes nothing.
    support: full
"""

    ACTION = r"""
options: {}
attributes:
  action:
    description: The work is done on the controller.
    support: full
  diff_mode:
    description: Tells what has changed, or would change, when in diff mode.
    support: none
    details:
      - It changes nothing.
"""

    FILES = r"""
options: {}
attributes:
  diff_mode:
    description: Tells what has changed, or would change, when in diff mode.
    support: full
    details:
      - Secrets are masked.
requirements:
  - The agent's package, in the Python that runs the module. Where it is missing, check mode says what would be made,
    and a real run fails.
"""
