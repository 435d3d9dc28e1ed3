# Copyright (c) The Tunnel Whisperer maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The agent's source as it lies in this collection, for what the controller decides before any host is touched."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

SOURCE = Path(__file__).resolve().parents[2] / "agent" / "src"


def load(name: str) -> ModuleType:
    """Import a part of the agent that needs the standard library only, whatever else is installed here."""
    sys.path.insert(0, str(SOURCE))
    try:
        return importlib.import_module(f"tunnel_whisperer.{name}")
    finally:
        sys.path.remove(str(SOURCE))
