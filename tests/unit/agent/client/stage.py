"""A host with a system and a person, in a folder of their own with short paths: sockets are made there."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.unit.agent.bundle.samples import sound
from tunnel_whisperer import places
from tunnel_whisperer.bundle import Bundle
from tunnel_whisperer.files import Transaction
from tunnel_whisperer.places import Context, Place
from tunnel_whisperer.provision import bundles


class Stage:
    """The places of the system and of a person; `be` says who is at work."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self._monkeypatch = monkeypatch
        self.system = Place("system", root / "etc/tw/connect", root / "var", root / "run")
        self.home = root / "home"
        self.home.mkdir()
        self.system.run.mkdir()
        monkeypatch.setattr(places, "SYSTEM", self.system)
        monkeypatch.setenv("HOME", str(self.home))
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(root / "user"))
        (root / "user").mkdir()
        self.be(root=False)

    def be(self, *, root: bool) -> None:
        """Be root, or a person."""
        self._monkeypatch.setattr(places, "is_root", lambda: root)

    @property
    def own(self) -> Place:
        """The person's place."""
        found = places.own()
        assert found
        return found

    def context(self, name: str, place: Place, bundle: Bundle | None = None, *, origin: str = "bundle") -> Context:
        """Set up a context."""
        with Transaction() as transaction:
            bundles.install(
                transaction, place, name, bundle or sound(), now=datetime.now(UTC), xray=Path("/x"), replace_it=True
            )
            transaction.commit()
        context = Context(name, place)
        (context.directory / "origin").write_text(f"{origin}\n")
        return context

    def files(self) -> dict[str, bytes]:
        """Everything there is."""
        return {str(path.relative_to(self.root)): path.read_bytes() for path in self.root.rglob("*") if path.is_file()}


def another(**fields: object) -> Bundle:
    """A sound bundle in which something is otherwise."""
    return replace(sound(), **fields)  # type: ignore[arg-type]  # the caller names fields of the right types
