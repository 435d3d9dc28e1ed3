"""`tw context`: what is listed, shown, chosen, renamed, deleted and exported, and what is asked before."""

from __future__ import annotations

import stat
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.unit.agent.bundle.samples import PASSPHRASE, keys, sound
from tests.unit.agent.cli.commands import Tw, answering
from tests.unit.agent.client.stage import Stage
from tunnel_whisperer import bundle, places, services
from tunnel_whisperer.cli import asking


def test_nothing_is_listed_where_nothing_is(stage: Stage, tw: Tw) -> None:
    assert tw("context", "list") == "no context has been set up here (tw import FILE sets one up)\n"
    assert tw.data("context", "list") == {"contexts": []}


def test_the_systems_and_the_own_contexts_are_listed(stage: Stage, tw: Tw) -> None:
    stage.context("acme", stage.system, origin="inventory")
    stage.context("home", stage.own)
    tw("context", "use", "home")
    with answering(stage.system.runtime_dir("acme"), {"state": "up"}):
        assert tw("context", "list") == (
            "*  home  own     not running  alice at acme, relay relay.example.com:443, bundle\n"
            "   acme  system  up           alice at acme, relay relay.example.com:443, inventory\n"
        )
        found = tw.data("context", "list")["contexts"]
    assert [(one["name"], one["place"], one["current"], one["state"], one["origin"]) for one in found] == [
        ("home", "own", True, "not running", "bundle"),
        ("acme", "system", False, "up", "inventory"),
    ]


def test_a_broken_context_is_listed_with_what_is_wrong(stage: Stage, tw: Tw) -> None:
    context = stage.context("acme", stage.own)
    context.file.write_text("a: [")
    assert "acme  own  not running" in tw("context", "list")
    assert f"{context.file}: is no valid YAML" in tw.out
    assert "is no valid YAML" in tw("context", "show", "acme", code=2)
    assert tw.data("context", "list")["contexts"][0]["error"].startswith(f"{context.file}: is no valid YAML")


def test_a_closed_system_is_told_of(stage: Stage, tw: Tw, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places.Place, "closed", property(lambda place: place.kind == "system"))
    stage.context("home", stage.own)
    assert "home" in tw("context", "list")
    assert tw.err == f"tw: only root and the group tw may look into {stage.system.contexts}\n"


def test_one_is_shown_with_where_its_bridges_listen(stage: Stage, tw: Tw) -> None:
    context = stage.context("acme", stage.own)
    tw("port", "set", "acme", "postgres", "15432")
    assert tw("context", "show").splitlines() == [
        "context acme: not running, current",
        f"  folder       {context.directory} (own)",
        "  made by      bundle",
        "  user         alice at acme",
        "  relay        relay.example.com:443",
        f"  certificate  until {tw.data('context', 'show')['certificate_until'][:10]}",
        "  bridge       postgres: 127.0.0.1:15432 -> 127.0.0.1:5432 (instead of 127.0.0.1:5432: tw port)",
        "  bridge       web-8080: 127.0.0.1:8080 -> 127.0.0.1:8080",
    ]


def test_one_is_chosen(stage: Stage, tw: Tw) -> None:
    stage.context("acme", stage.own)
    stage.context("beta", stage.own)
    assert "not exactly one to take" in tw.refused("context", "show")
    assert tw("context", "use", "beta", "--dry-run") == f"would make {stage.own.current_file}\n"
    assert not stage.own.current_file.exists()
    assert tw("context", "use", "beta") == "beta is the current context\n"
    assert tw.data("context", "use", "beta") == {"context": "beta", "changed": False, "paths": []}
    assert tw.data("context", "show")["name"] == "beta"
    assert "no context 'gamma' (contexts here: acme, beta)" in tw.refused("context", "use", "gamma")


def test_one_is_renamed(stage: Stage, tw: Tw) -> None:
    stage.context("acme", stage.own)
    before = stage.files()
    said = tw("context", "rename", "acme", "office", "--dry-run").splitlines()
    assert f"would make {stage.own.contexts / 'office/connect.yml'}" in said
    assert f"would remove {stage.own.contexts / 'acme'}" in said
    assert stage.files() == before
    assert tw("context", "rename", "acme", "office") == "context acme is called office now\n"
    assert [context.name for context in places.known()] == ["office"]
    assert tw.refused("context", "rename", "office", "Office").startswith(
        "new name: 'Office' is no lower-case DNS label"
    )


def test_a_running_context_is_neither_renamed_nor_deleted(stage: Stage, tw: Tw) -> None:
    context = stage.context("acme", stage.own)
    with answering(context.runtime_dir, {"state": "up", "pid": 17}):
        for command in (["rename", "acme", "office"], ["delete", "acme", "--yes"]):
            assert tw.refused("context", *command) == (
                f"context acme: its daemon runs (first: end its tw connect (pid 17); or {command[0]} it all the same: "
                "--force)"
            )
        assert context.file.exists()
        tw("context", "delete", "acme", "--yes", "--force")
    assert not context.directory.exists()


def test_an_enabled_unit_is_told_of(stage: Stage, tw: Tw, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(services, "_FOLDERS", (tmp_path,))
    (tmp_path / "multi-user.target.wants").mkdir()
    (tmp_path / "tw-connect@.service").touch()
    (tmp_path / "multi-user.target.wants/tw-connect@acme.service").symlink_to("gone")
    (tmp_path / "multi-user.target.wants/tw-connect@office.service").symlink_to("gone")
    stage.be(root=True)
    stage.context("acme", stage.system)
    tw("context", "rename", "acme", "office")
    assert tw.err == (
        "tw: tw-connect@acme is still enabled: systemctl disable --now tw-connect@acme, then "
        "systemctl enable --now tw-connect@office\n"
    )
    tw("context", "delete", "office", "--yes")
    assert tw.err == "tw: tw-connect@office is still enabled: systemctl disable --now tw-connect@office\n"


def test_a_deletion_wants_a_yes(stage: Stage, tw: Tw, monkeypatch: pytest.MonkeyPatch) -> None:
    context = stage.context("acme", stage.own)
    question = f"Delete context acme with its keys ({context.directory})?"
    assert tw.refused("context", "delete", "acme") == (
        f"{question} There is no terminal to ask at (say yes beforehand: --yes)"
    )
    answers = iter(["n", "y"])
    monkeypatch.setattr(asking.sys, "stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda _prompt: next(answers))
    tw("context", "delete", "acme", code=130)
    assert context.file.exists()
    assert tw("context", "delete", "acme", "--dry-run") == f"would remove {context.directory}\n"
    assert context.file.exists()
    assert tw("context", "delete", "acme") == "context acme is deleted\n"
    assert not context.directory.exists()


def test_what_ansible_made_is_refused_with_the_reason(stage: Stage, tw: Tw) -> None:
    stage.be(root=True)
    stage.context("acme", stage.system, origin="inventory")
    assert tw.refused("context", "delete", "acme", "--yes") == (
        "context acme: was made by Ansible, and the inventory owns it "
        "(take the user from tw_users, or from this host, and run site.yml)"
    )
    assert tw.refused("context", "rename", "acme", "office").startswith(
        "context acme: was made by Ansible, and the inventory owns it (rename it there"
    )


def test_an_export_to_a_key_is_what_another_machine_imports(
    stage: Stage, tw: Tw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    stage.context("acme", stage.own)
    assert tw("context", "export", "--to", keys()[1], "--dry-run") == "would write acme.age\n"
    assert not (tmp_path / "acme.age").exists()
    assert tw("context", "export", "--to", keys()[1]) == (
        "acme.age: alice at acme; on the other machine: tw import acme.age\n"
    )
    assert stat.S_IMODE((tmp_path / "acme.age").stat().st_mode) == 0o600
    secret = tmp_path / "key"
    secret.touch(mode=0o600)
    secret.write_text(keys()[0])
    tw("import", "acme.age", "--identity", "key", "--as", "copy")
    assert (stage.own.contexts / "copy/id_ed25519").read_text() == sound().ssh_key


def test_an_export_overwrites_nothing_unless_told_to(
    stage: Stage, tw: Tw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    stage.context("acme", stage.own)
    (tmp_path / "x.age").write_text("precious")
    command = ["context", "export", "acme", "--to", keys()[1], "-o", "x.age"]
    assert tw.refused(*command) == "x.age: is there already (--force overwrites it, -o FILE names another)"
    assert (tmp_path / "x.age").read_text() == "precious"
    told = tw.data(*command, "--force")
    assert told == {"context": "acme", "path": "x.age", "bytes": (tmp_path / "x.age").stat().st_size}
    assert stat.S_IMODE((tmp_path / "x.age").stat().st_mode) == 0o600


def test_an_export_asks_for_a_passphrase_that_is_long_enough(
    stage: Stage, tw: Tw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    stage.context("acme", stage.own)
    secret = tmp_path / "secret"
    secret.touch(mode=0o600)
    secret.write_text("too short\n")
    said = tw.refused("context", "export", "acme", "--passphrase-file", "secret")
    assert said.startswith("passphrase: has less than 12 characters")
    said = tw.refused("context", "export", "acme", "--passphrase-file", "secret", "--to", keys()[1])
    assert said == "a bundle is sealed to a passphrase or to public keys (give one of the options)"
    assert not (tmp_path / "acme.age").exists()
    secret.write_text(f"{PASSPHRASE}\n")
    tw("context", "export", "acme", "--passphrase-file", "secret")
    made = bundle.unseal((tmp_path / "acme.age").read_bytes(), passphrase=PASSPHRASE)
    assert (made.kind, made.user, made.ssh_key) == ("identity", "alice", sound().ssh_key)


@pytest.mark.parametrize("command", ["list", "show", "use", "rename", "delete", "export"])
def test_each_has_help_with_examples(tw: Tw, command: str) -> None:
    text = tw("context", command, "--help")
    assert f"Examples:\n    tw context {command}" in text
    assert "--json" in text
