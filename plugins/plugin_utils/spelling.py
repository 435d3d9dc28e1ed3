# Copyright: (c) The Tunnel Whisperer maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which variables this collection knows, and which names look like one of them but are none."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

import yaml

ALSO_KNOWN = frozenset(
    {"control_pki_passphrase", "tw_apps", "tw_bundle_passphrases", "tw_groups", "tw_renew_bundles", "tw_users"}
)
"""Variables that no role's specification names: secrets, and the data all roles share."""

_CLOSE = 0.86


def known_variables(roles: Path) -> set[str]:
    """Return every variable that the roles' argument specifications name."""
    known = set(ALSO_KNOWN)
    for path in roles.glob("*/meta/argument_specs.yml"):
        for entry in yaml.safe_load(path.read_text())["argument_specs"].values():
            known.update(entry.get("options") or {})
    return known


def misspelt(names: Iterable[str], known: set[str]) -> dict[str, str]:
    """Return the names that are nearly, but not quite, a known variable, each with the one that was likely meant."""
    found = {}
    for name in sorted(name for name in set(names) - known if not _is_ones_own(name, known)):
        if close := difflib.get_close_matches(name, known, n=1, cutoff=_CLOSE):
            found[name] = close[0]
    return found


def _is_ones_own(name: str, known: set[str]) -> bool:
    """Say whether a name is clearly no slip: a private one, or one of ours after a word such as ``vault_``."""
    return name.startswith("_") or any(name.endswith(f"_{variable}") for variable in known)
