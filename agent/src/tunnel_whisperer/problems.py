"""Everything wrong with an input at once, each problem naming the item and the field it is about.

Standard library only: the collection uses it on the controller too.
"""

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from tunnel_whisperer import names
from tunnel_whisperer.errors import ConfigError

T = TypeVar("T")

_LISTED = 12
"""So many known names are listed in a message; more would drown it."""

_PLAIN = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}")

_NAME_FAULTS: Mapping[str, Callable[[str], str | None]] = {"tenant": names.tenant_fault, "user": names.user_fault}


class InvalidInputError(ConfigError):
    """An input cannot be used; `problems` holds one line for each thing wrong with it."""

    def __init__(self, problems: Iterable[str]) -> None:
        """Keep the problems, in the order in which they were found."""
        self.problems = tuple(problems)
        count = len(self.problems)
        super().__init__(self.problems[0] if count == 1 else f"{count} problems: {'; '.join(self.problems)}")


class Problems:
    """Reads an input's parts and collects what is wrong with them, so that its author mends all of it in one go.

    `where` is a path into the input, such as `tw_users.alice.apps[1]`.
    """

    def __init__(self) -> None:
        """Start with none."""
        self._found: list[str] = []

    def __len__(self) -> int:
        return len(self._found)

    def add(self, where: str, message: str) -> None:
        """Note one problem."""
        self._found.append(f"{where}: {message}")

    def first(self) -> str:
        """Return the one that was noted first."""
        return self._found[0]

    def check(self) -> None:
        """Raise InvalidInputError when there are any."""
        if self._found:
            raise InvalidInputError(self._found)

    def read(self, reader: Callable[[object], T], value: object, where: str) -> T | None:
        """Read through `reader`, whose ValueError says what is wrong; None then."""
        try:
            return reader(value)
        except ValueError as error:
            self.add(where, str(error))
            return None

    def name(self, kind: str, value: object, where: str) -> str | None:
        """Read the name of a tenant, user, app or context."""
        if not isinstance(value, str):
            self.add(where, f"{quote(value)} is no name; accepted: a text (put it in quotes)")
            return None
        fault = _NAME_FAULTS.get(kind, names.label_fault)(value)
        if fault:
            self.add(
                where, f"no name for {'an' if kind[0] in 'aeiou' and kind != 'user' else 'a'} {kind}: {_cut(fault)}"
            )
            return None
        return value

    def one_of(self, kind: str, value: object, known: Iterable[str], where: str) -> str | None:
        """Read a name that must be among the known ones."""
        known = list(known)
        if isinstance(value, str) and value in known:
            return value
        self.add(where, f"unknown {kind} {quote(value)} ({suggest(str(value), known)})")
        return None

    def items(self, value: object, where: str) -> list[object]:
        """Read a list; nothing counts as an empty one."""
        if value is None:
            return []
        if isinstance(value, list | tuple):
            return list(value)
        self.add(where, f"{quote(value)} is no list")
        return []

    def mapping(self, value: object, where: str, known: Iterable[str] | None = None) -> dict[object, object]:
        """Read a mapping, which may have the `known` keys only; nothing counts as an empty one."""
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            self.add(where, f"{quote(value)} is no mapping")
            return {}
        if known is not None:
            accepted = sorted(known)
            for key in value:
                if key not in accepted:
                    self.add(below(where, key), f"unknown key ({suggest(str(key), accepted)})")
        return dict(value)


def below(where: str, key: object) -> str:
    """Name an item below `where`; a hostile key is quoted, so that a message stays one line."""
    return f"{where}.{key}" if isinstance(key, str) and _PLAIN.fullmatch(key) else f"{where}[{quote(key)}]"


def suggest(given: str, known: Iterable[str]) -> str:
    """Say which of the known names was probably meant, and which there are."""
    listed = sorted(name if _PLAIN.fullmatch(name) else quote(name) for name in known)
    if not listed:
        return "none is known"
    near = difflib.get_close_matches(given[:80], listed, n=1)
    text = ", ".join(listed[:_LISTED]) + (f", and {len(listed) - _LISTED} more" if len(listed) > _LISTED else "")
    return f'did you mean "{near[0]}"? known: {text}' if near else f"known: {text}"


def quote(value: object) -> str:
    """Show a value in a message: quoted, on one line, and short."""
    if value is None:
        return "nothing"
    text = f'"{value}"' if isinstance(value, str) and value.isascii() and value.isprintable() else ascii(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _cut(text: str) -> str:
    """Shorten what a hostile value made long, and show what only looks like a letter we know."""
    text = text.encode("ascii", "backslashreplace").decode()
    return text if len(text) <= 160 else f"{text[:90]}...{text[-60:]}"
