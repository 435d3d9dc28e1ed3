# Copyright: (c) The Tunnel Whisperer maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an operator is told of bundles: which files were made, for whom, until when, and what these people type."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

KINDS = {"enrolment": "enrols", "identity": "good"}
LOCKS = {
    "passphrase": "opened by the passphrase, which goes another way than the file",
    "keys": "opened by the key it is sealed to",
}


def lines(made: Iterable[Mapping[str, Any]], missing: Iterable[Mapping[str, Any]], *, would: bool) -> list[str]:
    """Return the text for these bundles, as module bundles returns them; none where there is nothing to say."""
    told: list[str] = []
    files = sorted(made, key=lambda one: (one["tenant"], one["user"]))
    if files:
        told.append(
            "Bundles that would be made:" if would else "Bundles made in this run, to be handed to their people:"
        )
    for one in files:
        told.append(f"  {one['user']} at {one['tenant']}: {one['file']}")
        told.append(f"      {KINDS[one['kind']]} until {_moment(one['until'])}, {LOCKS[one['lock']]}")
        told.append(f"      {one['user']} types: {command(one)}, and then: tw connect {one['context']}")
    away = sorted(missing, key=lambda one: (one["tenant"], one["user"]))
    if away:
        told.append("Not enrolled yet, and no file for them is on this machine:")
    told += [f"  {one['user']} at {one['tenant']}, until {_moment(one['until'])}" for one in away]
    if away:
        names = ",".join(one["user"] for one in away)
        told.append(f"      to make new files: -e tw_renew_bundles=[{names}]")
    return told


def command(one: Mapping[str, Any]) -> str:
    """Return what the owner of a bundle types to take it up."""
    file = Path(one["file"]).name
    return f"tw import {file}" if one["lock"] == "passphrase" else f"tw import --identity YOUR_PRIVATE_KEY {file}"


def _moment(text: str) -> str:
    return f"{text[:10]} {text[11:16]} UTC"
