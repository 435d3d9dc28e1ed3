"""Reads one YAML file into checked values; every complaint names file, key, what was given and what is accepted."""

import difflib
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml

from tunnel_whisperer.errors import ConfigError

T = TypeVar("T")
_MISSING: Any = object()


class _StrictLoader(yaml.SafeLoader):
    """YAML's safe loader, except that a key given twice is an error rather than a silent winner."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable):
                if key in seen:
                    raise yaml.MarkedYAMLError(problem=f"key {key!r} is given twice", problem_mark=key_node.start_mark)
                seen.add(key)
        return super().construct_mapping(node, deep)


class Section:
    """One mapping of a configuration file; `done` refuses the keys that nothing asked for."""

    def __init__(self, values: Mapping[str, Any], *, file: Path, prefix: str = "") -> None:
        """Wrap `values`, found in `file` under `prefix` (such as `relay.` or `bridges[2].`)."""
        self._values = values
        self._file = file
        self._prefix = prefix
        self._known: list[str] = []

    def fault(self, key: str, given: object, accepted: str) -> ConfigError:
        """Build the error for a wrong value."""
        message = f"key '{self._prefix}{key}': given {show(given)}; accepted: {accepted}"
        return ConfigError(message, where=str(self._file))

    def text(
        self,
        key: str,
        default: str = _MISSING,
        *,
        fault: Callable[[str], str | None] | None = None,
        accepted: str = "a text",
    ) -> str:
        """Return a non-empty text; `fault` may say what is wrong with it."""
        value = self._take(key, default, accepted)
        if not isinstance(value, str) or not value:
            raise self.fault(key, value, accepted)
        if fault and (reason := fault(value)):
            raise self.fault(key, value, f"{accepted}; {reason}")
        return value

    def host(self, key: str, default: str = _MISSING) -> str:
        """Return a host name or an IP address, with no port in it."""
        accepted = "a host name or an IP address"
        value = self.text(key, default, accepted=accepted)
        if len(value) > 253 or not all(c.isalnum() or c in "-._:" for c in value) or value[0] in "-.":
            raise self.fault(key, value, accepted)
        if value.count(":") == 1:
            raise self.fault(key, value, f"{accepted}; a port has a key of its own")
        return value

    def integer(self, key: str, default: int = _MISSING, *, low: int, high: int) -> int:
        """Return a whole number from `low` to `high`."""
        accepted = f"a whole number from {low} to {high}"
        value = self._take(key, default, accepted)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self.fault(key, value, accepted)
        return value

    def port(self, key: str, default: int = _MISSING) -> int:
        """Return a TCP port."""
        return self.integer(key, default, low=1, high=65535)

    def choice(self, key: str, default: str, options: Sequence[str]) -> str:
        """Return one of `options`."""
        value = self._take(key, default, "")
        if value not in options:
            raise self.fault(key, value, ", ".join(options) + _suggestion(str(value), options))
        return str(value)

    def path(self, key: str, default: Path = _MISSING) -> Path:
        """Return a path; a relative one counts from the folder of the configuration file."""
        if key not in self._values and default is not _MISSING:
            self._known.append(key)
            return default
        return (self._file.parent / self.text(key, accepted="a path")).absolute()

    def optional_path(self, key: str) -> Path | None:
        """Return a path as `path` does, or None where the key is missing or null."""
        if self._values.get(key) is None:
            self._known.append(key)
            return None
        return self.path(key)

    def section(self, key: str) -> "Section":
        """Return the mapping below `key`."""
        value = self._take(key, _MISSING, "a mapping")
        return self._wrap(key, key, value)

    def sections(self, key: str) -> list["Section"]:
        """Return the list of mappings below `key`, empty where the key is missing."""
        return [self._wrap(key, f"{key}[{i}]", item) for i, item in enumerate(self._list(key, "a list of mappings"))]

    def texts(self, key: str, convert: Callable[[str], T], *, accepted: str, at_least: int = 1) -> tuple[T, ...]:
        """Return a list of texts, each through `convert`, whose ValueError says what is wrong."""
        found = []
        for i, item in enumerate(self._list(key, accepted)):
            if not isinstance(item, str):
                raise self.fault(f"{key}[{i}]", item, accepted)
            try:
                found.append(convert(item))
            except ValueError as error:
                raise self.fault(f"{key}[{i}]", item, f"{accepted}; {error}") from None
        if len(found) < at_least:
            raise self.fault(key, self._values.get(key), f"at least one of: {accepted}")
        return tuple(found)

    def has(self, *keys: str) -> bool:
        """Say whether any of `keys` is given."""
        return any(key in self._values for key in keys)

    def names(self) -> list[str]:
        """Return the keys of a mapping that may have any; raises ConfigError for one that is no text."""
        for key in self._values:
            if not isinstance(key, str):
                raise ConfigError(f"key {show(key)} is no text", where=str(self._file), hint="put it in quotes")
        return list(self._values)

    def done(self) -> None:
        """Refuse every key that was not asked for, suggesting the nearest that is known."""
        for key in self._values:
            if key not in self._known:
                hint = _suggestion(str(key), self._known) or f"; known keys: {', '.join(sorted(self._known))}"
                raise ConfigError(f"unknown key '{self._prefix}{key}'{hint}", where=str(self._file))

    def _wrap(self, key: str, shown: str, value: object) -> "Section":
        if not isinstance(value, dict):
            raise self.fault(shown, value, "a mapping")
        return Section(value, file=self._file, prefix=f"{self._prefix}{shown}.")

    def _list(self, key: str, accepted: str) -> list[Any]:
        value = self._take(key, [], accepted)
        if not isinstance(value, list):
            raise self.fault(key, value, accepted)
        return value

    def _take(self, key: str, default: Any, accepted: str) -> Any:
        self._known.append(key)
        value = self._values.get(key, default)
        if value is _MISSING:
            near = difflib.get_close_matches(key, [str(k) for k in self._values], n=1)
            also = f"; '{self._prefix}{near[0]}' looks like it" if near else ""
            message = f"key '{self._prefix}{key}' is missing; accepted: {accepted}{also}"
            raise ConfigError(message, where=str(self._file))
        return value


def read(path: Path) -> Section:
    """Read a YAML file whose top level is a mapping.

    Raises ConfigError naming the file when it cannot be read, is no YAML, or holds anything but a mapping.
    """
    try:
        values = _parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", where=str(path)) from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"is no UTF-8 text (byte {error.start})", where=str(path)) from None
    except yaml.MarkedYAMLError as error:
        line = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(f"is no valid YAML{line}: {error.problem}", where=str(path)) from None
    except yaml.YAMLError as error:
        raise ConfigError(f"is no valid YAML: {error}", where=str(path)) from None
    if not isinstance(values, dict):
        raise ConfigError(f"its top level is of type {type(values).__name__}; accepted: a mapping", where=str(path))
    return Section(values, file=path)


def _parse(text: str) -> object:
    loader = _StrictLoader(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def show(value: object) -> str:
    """Quote a value for a message, short."""
    if value is None:
        return "nothing"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _suggestion(given: str, options: Sequence[str]) -> str:
    near = difflib.get_close_matches(given, options, n=1)
    return f"; did you mean '{near[0]}'?" if near else ""
