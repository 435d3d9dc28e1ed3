"""Contexts that are there: chosen, renamed, deleted, their ports set; and what is not done to those of others."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.agent.bundle.samples import POSTGRES, UUID
from tests.unit.agent.client.stage import Stage
from tunnel_whisperer import places, ports, services
from tunnel_whisperer.config import load_connect, read_connect
from tunnel_whisperer.errors import ConfigError
from tunnel_whisperer.files import Transaction
from tunnel_whisperer.identity import Identity
from tunnel_whisperer.places import Context
from tunnel_whisperer.ports import LocalEnd
from tunnel_whisperer.provision import keeping


def use(context: Context) -> None:
    with Transaction() as transaction:
        keeping.use(transaction, context, places.places())
        transaction.commit()


def rename(context: Context, name: str) -> Context:
    with Transaction() as transaction:
        renamed = keeping.rename(transaction, context, name, places.places())
        assert all("PRIVATE KEY" not in change.before + change.after for change in transaction.changes)
        transaction.commit()
    return renamed


def delete(context: Context) -> None:
    with Transaction() as transaction:
        keeping.delete(transaction, context, places.places())
        transaction.commit()


def set_ports(context: Context, **ends: LocalEnd) -> None:
    with Transaction() as transaction:
        keeping.set_ports(transaction, context, ends)
        transaction.commit()


@contextlib.contextmanager
def running(context: Context) -> Iterator[None]:
    """Have something that listens where the daemon of a context would."""
    context.runtime_dir.mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(context.runtime_dir / "control.sock"))
        listener.listen()
        yield


def test_the_chosen_context_is_noted_for_whom_chose_it(stage: Stage) -> None:
    system, own = stage.context("acme", stage.system), stage.context("mine", stage.own)
    use(system)
    assert stage.own.current_file.read_text() == "acme\n"
    assert places.find() == system
    use(own)
    assert places.find() == own
    assert not stage.system.current_file.exists()
    stage.be(root=True)
    use(system)
    assert stage.system.current_file.read_text() == "acme\n"


def test_a_renamed_context_has_all_it_had(stage: Stage) -> None:
    context = stage.context("acme", stage.own)
    set_ports(context, postgres=LocalEnd(1))
    context.state_dir.mkdir(parents=True)
    (context.state_dir / "kept").write_text("state")
    use(context)
    before = {path.name: (path.read_bytes(), path.stat().st_mode) for path in context.directory.iterdir()}
    renamed = rename(context, "office")
    assert not context.directory.exists()
    assert not context.state_dir.exists()
    assert (renamed.state_dir / "kept").read_text() == "state"
    after = {path.name: (path.read_bytes(), path.stat().st_mode) for path in renamed.directory.iterdir()}
    assert {name for name in before if before[name] != after[name]} == {"connect.yml"}
    assert before.keys() == after.keys()
    assert stat.S_IMODE(renamed.directory.stat().st_mode) == 0o700
    config = load_connect(renamed.file)
    assert (config.context, config.identity_dir) == ("office", renamed.directory)
    assert config.relay.roots_file == renamed.directory / "relay_roots.pem"
    assert config.runtime_dir == stage.own.run / "tw-connect-office"
    assert config.bridges[0].local_port == 1
    assert renamed.file.read_text().startswith("# Written by tw import")
    assert Identity(config.identity_dir).uuid() == UUID
    assert places.find() == renamed


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("../x", "new name: '../x' is no lower-case DNS label"),
        ("serve", "new name: 'serve' is reserved"),
        ("beta", "beta: is there already .choose another name"),
        ("acme", "acme: is there already .choose another name"),
    ],
)
def test_a_name_that_cannot_be_given(stage: Stage, name: str, complaint: str) -> None:
    context = stage.context("acme", stage.own)
    stage.context("beta", stage.own)
    before = stage.files()
    with pytest.raises(ConfigError, match=complaint):
        rename(context, name)
    assert stage.files() == before


def test_a_deleted_context_is_gone_with_its_state_and_its_note(stage: Stage) -> None:
    context = stage.context("acme", stage.own)
    context.state_dir.mkdir(parents=True)
    use(context)
    delete(context)
    assert stage.files() == {}
    assert not context.directory.exists()
    assert not context.state_dir.exists()


def test_a_note_that_means_another_context_stays(stage: Stage) -> None:
    own, system = stage.context("acme", stage.own), stage.context("acme", stage.system)
    use(system)
    delete(own)
    assert places.find() == system


def test_what_the_inventory_owns_is_left_to_it(stage: Stage) -> None:
    stage.be(root=True)
    context = stage.context("acme", stage.system, origin="inventory")
    before = stage.files()
    with pytest.raises(ConfigError) as caught:
        delete(context)
    assert str(caught.value) == (
        "context acme: was made by Ansible, and the inventory owns it "
        "(take the user from tw_users, or from this host, and run site.yml)"
    )
    with pytest.raises(ConfigError, match=r"the inventory owns it .rename it there .context of its user in tw_users"):
        rename(context, "office")
    assert stage.files() == before
    set_ports(context, postgres=LocalEnd(1))
    assert load_connect(context.file).bridges[0].local_port == 1


def test_a_person_does_not_change_the_systems_contexts(stage: Stage) -> None:
    context = stage.context("acme", stage.system)
    before = stage.files()
    for change in (delete, lambda it: rename(it, "x"), lambda it: set_ports(it, postgres=LocalEnd(1))):
        with pytest.raises(ConfigError, match=r"context acme: belongs to the system .as root: sudo tw"):
            change(context)
    assert stage.files() == before


def test_a_running_daemon_is_in_the_way_and_it_is_said_how_to_stop_it(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own, system = stage.context("mine", stage.own), stage.context("acme", stage.system)
    keeping.check_stopped(own, "delete")
    monkeypatch.setattr("tunnel_whisperer.running.status_of", lambda _context: {"pid": 17})
    with running(own), pytest.raises(ConfigError) as caught:
        keeping.check_stopped(own, "delete")
    assert str(caught.value) == (
        "context mine: its daemon runs (first: end its tw connect (pid 17); or delete it all the same: --force)"
    )
    keeping.check_stopped(own, "delete")
    (tmp_path / "tw-connect@.service").touch()
    monkeypatch.setattr(services, "_FOLDERS", (tmp_path,))
    with running(system), pytest.raises(ConfigError, match="first: systemctl disable --now tw-connect@acme; or rename"):
        keeping.check_stopped(system, "rename")


def test_units_are_known_for_contexts_of_the_system(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(services, "_FOLDERS", (tmp_path,))
    own, system = Context("mine", stage.own), Context("acme", stage.system)
    assert services.how_to_run(system) == "tw connect acme"
    (tmp_path / "tw-connect@.service").touch()
    assert services.how_to_run(system) == "systemctl enable --now tw-connect@acme"
    assert services.how_to_run(own) == "tw connect mine"
    assert not services.enabled(system)
    (tmp_path / "multi-user.target.wants").mkdir()
    (tmp_path / "multi-user.target.wants" / "tw-connect@acme.service").symlink_to("gone")
    assert services.enabled(system)
    assert not services.enabled(own)


def test_ports_are_kept_in_a_file_of_their_own_with_the_access_of_the_context(stage: Stage) -> None:
    context = stage.context("acme", stage.own)
    set_ports(context, postgres=LocalEnd(1, "0.0.0.0"))
    path = context.directory / "ports.yml"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert ports.load(path) == {"postgres": LocalEnd(1, "0.0.0.0")}
    assert read_connect(context.file).bridges[0] == POSTGRES
    with pytest.raises(ConfigError, match="would both listen at 127"):
        set_ports(context, postgres=LocalEnd(8080))
    assert ports.load(path) == {"postgres": LocalEnd(1, "0.0.0.0")}
    set_ports(context)
    assert not path.exists()
    set_ports(context)
    os.chmod(context.file, 0o640)
    set_ports(context, postgres=LocalEnd(2))
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
