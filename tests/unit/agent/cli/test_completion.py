"""Shell completion: what shells read, and what they are answered."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.unit.agent.cli.commands import Tw
from tests.unit.agent.client.stage import Stage
from tunnel_whisperer import cli


@pytest.mark.parametrize(
    ("shell", "words"), [("bash", "complete -o nosort"), ("zsh", "#compdef tw"), ("fish", "complete ")]
)
def test_each_shell_gets_its_own_script(tw: Tw, shell: str, words: str) -> None:
    script = tw("completion", shell)
    assert words in script
    assert "_TW_COMPLETE=" in script


def test_bash_takes_its_script(tw: Tw) -> None:
    subprocess.run(["bash", "-n"], input=tw("completion", "bash"), text=True, check=True)


def test_an_unknown_shell_is_bad_usage(tw: Tw) -> None:
    tw("completion", "tcsh", code=2)


def completed(stage: Stage, *words: str) -> list[str]:
    """Return what a shell is answered after these words, the last of which is not complete."""
    environment = {
        "HOME": str(stage.home),
        "_TW_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(["tw", *words]),
        "COMP_CWORD": str(len(words)),
    }
    script = (
        "import sys, tunnel_whisperer.places as p; p.is_root = lambda: False;"
        "import tunnel_whisperer.cli as c; c.run([])"
    )
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line]


def test_commands_options_contexts_and_bridges_are_completed(stage: Stage) -> None:
    stage.context("acme", stage.own)
    stage.context("office", stage.own)
    assert completed(stage, "co") == ["connect", "context", "completion"]
    assert completed(stage, "") == list(cli.COMMANDS)
    assert completed(stage, "connect", "of") == ["office"]
    assert completed(stage, "context", "use", "") == ["acme", "office"]
    assert completed(stage, "port", "set", "acme", "p") == ["postgres"]
    assert completed(stage, "port", "set", "gone", "p") == []
    assert completed(stage, "import", "--pass") == ["--passphrase-file"]


def test_help_is_in_sections(tw: Tw) -> None:
    text = tw("--help")
    places = [text.index(f"{title}:") for title in cli.SECTIONS]
    assert places == sorted(places)
    assert text.index("  import ") < text.index("  serve ") < text.index("  status ")
