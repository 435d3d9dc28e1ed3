# Copyright: (c) The Tunnel Whisperer maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the proofs of all clients come to: a table for people, and whether anything is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

HEADINGS = ("host", "context", "what", "", "time", "")
OK, BAD, UNTRIED = "ok", "FAILED", "not tried"


@dataclass(frozen=True)
class Verdict:
    """Lines to show; what failed and what was not tried, in words."""

    lines: tuple[str, ...]
    failed: tuple[str, ...]
    untried: tuple[str, ...]


def judge(
    clients: Mapping[str, Mapping[str, Any]], proofs: Mapping[str, Mapping[str, Any]], away: Mapping[str, str]
) -> Verdict:
    """Put the rows of all clients together.

    `clients` are the contexts of each host as planned, `proofs` what module proof returned for those that were tried,
    `away` says of the others why they were not.
    """
    rows, failed, untried = [], [], []
    for host, contexts in sorted(clients.items()):
        proof = proofs.get(host)
        if proof is None:
            reason = away.get(host, "it is not part of this run")
            for context in sorted(contexts):
                rows.append((host, context, "", UNTRIED, "", reason))
                untried.append(f"{host} {context}: {reason}")
            continue
        for row in sorted(proof["rows"], key=lambda row: str(row["context"])):
            word = OK if row["good"] else BAD
            rows.append((host, row["context"], row["what"], word, f"{row['seconds']:.2f} s", row["told"]))
            if not row["good"]:
                failed.append(f"{host} {row['context']}, {row['what']}: {row['told']}")
    return Verdict(tuple(table([HEADINGS, *rows])) if rows else (), tuple(failed), tuple(untried))


def table(rows: list[tuple[str, ...]]) -> list[str]:
    """Lay rows out in columns."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
