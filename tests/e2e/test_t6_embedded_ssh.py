"""T6: the server's embedded SSH server, on its loopback: keys only, forwards only, permitted ports only."""

from __future__ import annotations

import pytest

from tests.lab.api import Lab

KEY = "/etc/tw/connect/acme/id_ed25519"
OPTIONS = [
    "-p2222",
    "-oBatchMode=yes",
    "-oStrictHostKeyChecking=no",
    "-oUserKnownHostsFile=/dev/null",
    "-oLogLevel=ERROR",
    "-oConnectTimeout=5",
]


@pytest.fixture
def key(lab: Lab) -> str:
    """The first user's key, for once on the server itself, in memory only."""
    path = "/run/test-key"
    lab.run("server", ["install", "-m", "600", "/dev/stdin", path], input=lab.run("client", ["cat", KEY]).stdout)
    return path


def ssh(lab: Lab, *words: str) -> tuple[int, str]:
    """Log in on the server with OpenSSH's client."""
    done = lab.run("server", ["timeout", "10", "ssh", *OPTIONS, *words], input="", check=False)
    return done.returncode, done.stdout + done.stderr


def test_t6_it_listens_on_the_loopback_only(lab: Lab) -> None:
    told = lab.run("server", ["ss", "-Htln", "sport", "=", ":2222"]).stdout
    assert [line.split()[3] for line in told.splitlines()] == ["127.0.0.1:2222"]


def test_t6_a_permitted_port_is_reached(lab: Lab, key: str) -> None:
    # a start of PostgreSQL's protocol that misses the name: the database says so
    asked = lab.run(
        "server",
        ["timeout", "10", "ssh", *OPTIONS, "-i", key, "-W", "127.0.0.1:5432", "alice@127.0.0.1"],
        input="\x00\x00\x00\x08\x00\x03\x00\x00",
        check=False,
    )
    assert "FATAL" in asked.stdout


@pytest.mark.parametrize("target", ["127.0.0.1:22", "127.0.0.1:5433", "localhost:5432", "10.20.0.1:53"])
def test_t6_no_other_target_is(lab: Lab, key: str, target: str) -> None:
    code, told = ssh(lab, "-i", key, "-W", target, "alice@127.0.0.1")
    assert code != 0
    assert "prohibited" in told or "failed" in told


@pytest.mark.parametrize(
    "words", [["id"], ["-tt"], ["-s", "sftp"], ["-N", "-R", "9999:127.0.0.1:22", "-oExitOnForwardFailure=yes"]]
)
def test_t6_it_gives_no_shell_no_command_no_subsystem_and_no_way_back(lab: Lab, key: str, words: list[str]) -> None:
    options = [word for word in words if word.startswith("-")]
    rest = [word for word in words if not word.startswith("-")]
    code, told = ssh(lab, "-i", key, *options, *([rest.pop(0)] if "-R" in options else []), "alice@127.0.0.1", *rest)
    assert code != 0
    assert "uid=" not in told


def test_t6_strangers_and_unknown_names_are_told_the_same(lab: Lab, key: str) -> None:
    lab.run("server", ["sh", "-c", "rm -f /run/stranger*; ssh-keygen -q -t ed25519 -N '' -f /run/stranger"])
    answers = {ssh(lab, "-i", "/run/stranger", "-N", f"{name}@127.0.0.1") for name in ("alice", "nobody-of-that-name")}
    assert {(code, told.replace("nobody-of-that-name", "alice")) for code, told in answers} == {
        (255, "alice@127.0.0.1: Permission denied (publickey).\n")
    }


def test_t6_a_key_of_one_user_does_not_open_another(lab: Lab, key: str) -> None:
    code, told = ssh(lab, "-i", key, "-N", "server@127.0.0.1")
    assert (code, "Permission denied" in told) == (255, True)
