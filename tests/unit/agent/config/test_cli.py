"""The command line: lazy, one line an error, exit codes that tell."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import click
import pytest

from tests.integration.carrier import certificates
from tests.unit.agent.config.test_config import write
from tunnel_whisperer import cli
from tunnel_whisperer.errors import ConfigError, DaemonUnreachableError, FatalError, RetryableError, TwError

TW = Path(sys.executable).with_name("tw")


def test_help_lists_the_commands_and_loads_none() -> None:
    script = (
        "import sys, tunnel_whisperer.cli as c; c.run(['-h']); print(sorted(m for m in sys.modules if '.cli.' in m))"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert all(f"  {name} " in out for name in cli.COMMANDS)
    assert out.splitlines()[-1] == "[]"


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_is_where_it_is_looked_for(name: str) -> None:
    command = importlib.import_module(cli.module_of(name)).command
    assert isinstance(command, click.Command)
    assert command.name == name


@pytest.mark.parametrize(
    ("error", "code"),
    [(ConfigError, 2), (RetryableError, 1), (FatalError, 1), (DaemonUnreachableError, 3), (TwError, 1)],
)
def test_an_error_is_one_line_and_an_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: type[TwError], code: int
) -> None:
    def fail(_path: Path) -> None:
        raise error("does\nnot work", where="relay", hint="do this")

    monkeypatch.setattr("tunnel_whisperer.cli.check_config.load_any", fail)
    assert cli.run(["check-config", "x"]) == code
    assert capsys.readouterr().err == "tw: relay: does not work (do this)\n"


@pytest.mark.parametrize("arguments", [["bogus"], ["serve", "--bogus"], ["check-config"], ["relay", "dial"]])
def test_bad_usage_is_2(arguments: list[str]) -> None:
    assert cli.run(arguments) == 2


def test_the_program_tells_its_version() -> None:
    done = subprocess.run([TW, "--version"], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stdout.startswith("tw 0.")


def test_a_good_configuration_with_its_identity(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, "dial.yml", {"relay": {"host": "relay.example.com"}, "xray": sys.executable})
    assert cli.run(["check-config", str(path)]) == 2
    assert "vless_uuid: cannot be read" in capsys.readouterr().err
    secret = tmp_path / "vless_uuid"
    secret.touch(mode=0o600)
    secret.write_text("5783a3e7-e373-51cd-8642-c83782b807c5\n")
    issued = certificates.leaf("primary.operator.tw.internal", signer=certificates.authority("Operators"))
    issued.write(tmp_path / "tls.crt", tmp_path / "tls.key")
    assert cli.run(["check-config", str(path)]) == 0
    assert capsys.readouterr().out == f"{path}: good\n"


def test_an_xray_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    test_a_good_configuration_with_its_identity(tmp_path, capsys)
    path = write(tmp_path, "dial.yml", {"relay": {"host": "relay.example.com"}, "xray": "nothing"})
    assert cli.run(["check-config", str(path)]) == 2
    assert capsys.readouterr().err == f"tw: {path}: key 'xray': there is no file {tmp_path / 'nothing'}\n"
