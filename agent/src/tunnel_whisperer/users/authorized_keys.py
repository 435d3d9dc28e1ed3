"""The line of `authorized_keys` that a user has: built and read in one strict form.

Standard library only: the collection uses it on the controller too.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from tunnel_whisperer.users.keys import PublicKey, read_public_key
from tunnel_whisperer.users.targets import Target, read_target

_COMMENT = re.compile(r"[a-z0-9-]+@[a-z0-9-]+")
_LINE = re.compile(r'restrict,port-forwarding((?:,permitopen="[^"\\,\s]+")+) (\S+ \S+) (\S+)')
_OPTION = re.compile(r',permitopen="([^"]+)"')


@dataclass(frozen=True, slots=True)
class AuthorizedKey:
    """What a line says: this key may open these targets, and do nothing else."""

    key: PublicKey
    targets: frozenset[Target]
    comment: str


def build(key: PublicKey, targets: Iterable[Target], comment: str) -> str:
    """Build the line; `comment` is `<user>@<tenant>`. Without a target none is built: it would permit everything."""
    options = [f'permitopen="{target}"' for target in sorted(set(targets))]
    if not options:
        raise ValueError("a key needs at least one target: without permitopen it could open any")
    line = f"restrict,port-forwarding,{','.join(options)} {key} {comment}"
    parse(line)
    return line


def parse(line: str) -> AuthorizedKey:
    """Read a line that `build` made; raises ValueError for every other."""
    found = _LINE.fullmatch(line)
    if not found or not _COMMENT.fullmatch(found[3]):
        raise ValueError("is no line of the form: restrict,port-forwarding,permitopen=... <type> <key> <user>@<tenant>")
    targets = frozenset(read_target(text) for text in _OPTION.findall(found[1]))
    return AuthorizedKey(read_public_key(found[2]), targets, found[3])
