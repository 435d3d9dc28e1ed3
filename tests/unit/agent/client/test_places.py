"""Where contexts are looked for, and which of them is meant."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.unit.agent.client.stage import Stage
from tunnel_whisperer import config, places, running
from tunnel_whisperer.config import load_connect
from tunnel_whisperer.errors import ConfigError
from tunnel_whisperer.places import Place


def test_root_works_in_the_systems_places_alone(stage: Stage) -> None:
    stage.be(root=True)
    assert places.places() == (stage.system,)


def test_a_person_has_own_places_after_the_base_directories(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    assert stage.own == Place(
        "own",
        stage.home / ".config/tunnel-whisperer/contexts",
        stage.home / ".local/state/tunnel-whisperer/connect",
        stage.root / "user",
    )
    monkeypatch.setenv("XDG_CONFIG_HOME", "/c")
    monkeypatch.setenv("XDG_STATE_HOME", "/s")
    assert stage.own.contexts == Path("/c/tunnel-whisperer/contexts")
    assert stage.own.state == Path("/s/tunnel-whisperer/connect")
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")
    assert stage.own.contexts == stage.home / ".config/tunnel-whisperer/contexts"


def test_a_runtime_directory_of_somebody_else_is_not_taken(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    (stage.root / "user").rmdir()
    assert stage.own.run == stage.home / ".local/state/tunnel-whisperer/run"
    (stage.root / "user").mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    assert stage.own.run == stage.home / ".local/state/tunnel-whisperer/run"


def test_a_user_without_a_home_has_the_system_only(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "")
    assert places.places() == (stage.system,)


def test_an_own_context_comes_before_the_systems(stage: Stage) -> None:
    system = stage.context("acme", stage.system)
    assert places.find("acme") == system
    own = stage.context("acme", stage.own)
    assert places.find("acme") == own
    assert places.known() == [own, system]
    assert places.find() == own
    stage.be(root=True)
    assert places.find() == system


def test_the_current_context_is_taken_then_the_only_one(stage: Stage) -> None:
    with pytest.raises(ConfigError, match="no context has been set up here"):
        places.find()
    acme = stage.context("acme", stage.system)
    assert places.find() == acme
    beta = stage.context("beta", stage.own)
    with pytest.raises(
        ConfigError, match=r"no context named, and not exactly one to take \(contexts here: beta, acme\)"
    ):
        places.find()
    stage.system.current_file.write_text("acme\n")
    assert places.find() == acme
    stage.own.current_file.write_text("beta\n")
    assert places.find() == beta
    assert config.find_context(None) == beta.file
    assert config.find_context("acme") == acme.file


@pytest.mark.parametrize("name", ["amce", "..", "", "acme/../acme", "connect.yml"])
def test_an_unknown_name_is_told_with_those_that_are_known(stage: Stage, name: str) -> None:
    stage.context("acme", stage.own)
    with pytest.raises(ConfigError) as caught:
        places.find(name)
    assert str(caught.value) == f"{stage.own.contexts}: no context {name!r} (contexts here: acme)"


def test_a_current_context_that_is_gone_or_a_damaged_note_is_told(stage: Stage) -> None:
    stage.context("acme", stage.own)
    stage.own.current_file.write_text("beta\n")
    with pytest.raises(ConfigError, match=r"the current context 'beta' is not there any more .contexts here: acme"):
        places.find()
    stage.own.current_file.write_text("../x\n")
    with pytest.raises(ConfigError, match=r"current-context: names no context .note another: tw context use NAME"):
        places.find()


def test_a_system_that_may_not_be_looked_into_is_told(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.context("acme", stage.system)
    real = os.access
    closed = stage.system.contexts.parent
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != closed and real(path, mode))
    with pytest.raises(ConfigError, match=f"only root and the group tw may look into {stage.system.contexts}"):
        places.find("beta")


def test_a_daemon_lives_where_its_context_belongs(stage: Stage, tmp_path: Path) -> None:
    own, system = stage.context("mine", stage.own), stage.context("acme", stage.system)
    assert load_connect(own.file).runtime_dir == stage.root / "user/tw-connect-mine"
    assert load_connect(system.file).runtime_dir == stage.root / "run/tw-connect-acme"
    elsewhere = tmp_path / "connect.yml"
    elsewhere.write_bytes(system.file.read_bytes())
    assert load_connect(elsewhere).runtime_dir == stage.root / "user/tw-connect-acme"
    stage.be(root=True)
    assert load_connect(elsewhere).runtime_dir == stage.root / "run/tw-connect-acme"


def test_a_path_too_long_for_a_socket_is_refused_in_words(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = stage.root / ("d" * 80)
    deep.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(deep))
    with pytest.raises(ConfigError) as caught:
        stage.context("acme", stage.own)
    assert "at most 93 characters, as sockets are made there; name a shorter one under this key" in str(caught.value)


def test_daemons_are_found_by_name_where_they_live(stage: Stage) -> None:
    assert running.runtime_dir("serve") == stage.root / "run/tw-serve"
    assert running.runtime_dir("acme") == stage.root / "run/tw-connect-acme"
    stage.context("acme", stage.system)
    assert running.runtime_dir("acme") == stage.root / "run/tw-connect-acme"
    stage.context("acme", stage.own)
    assert running.runtime_dir("acme") == stage.root / "user/tw-connect-acme"


def test_status_looks_at_the_system_and_at_the_persons_own(stage: Stage) -> None:
    stage.context("acme", stage.system)
    stage.context("acme", stage.own)
    stage.context("mine", stage.own)
    found = running.find(stage.root / "serve.yml")
    assert [(one.name, one.place) for one in found] == [("acme", "own"), ("mine", "own"), ("acme", "system")]
    assert {str(one.error).rpartition(": ")[2] for one in found} == {"not running"}


def test_a_person_without_contexts_is_told_that_the_system_is_closed(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.system.contexts.mkdir(parents=True)
    closed = stage.system.contexts.parent
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != closed and real(path, mode))
    with pytest.raises(PermissionError):
        running.find(stage.root / "serve.yml")
    stage.context("mine", stage.own)
    assert [one.name for one in running.find(stage.root / "serve.yml")] == ["mine"]
