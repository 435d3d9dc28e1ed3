"""A person on a machine that no playbook reaches: added to the inventory, given a file, connected, let go."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.bridges import QUERY, answers, changed, users
from tests.lab.api import Lab

pytestmark = pytest.mark.timeout(400)

PASSPHRASE = "a sentence for dora alone"
HOME = "/srv/dora"
TW = f"{HOME}/.local/bin/tw"


def person(lab: Lab, *words: str, check: bool = True, **options: Any) -> Any:
    """Run a command on the guest as dora, who is not root."""
    env = [f"HOME={HOME}", f"PATH={HOME}/.local/bin:/usr/bin:/bin"]
    return lab.run("guest", ["runuser", "-u", "dora", "--", "env", "-C", HOME, *env, *words], check=check, **options)


@pytest.fixture(scope="module")
def machine(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Dora's machine, with the kit that the operator packed installed by herself."""
    kits = tmp_path_factory.mktemp("kits")
    lab.playbook("playbooks/kit.yml", "-e", json.dumps({"control_kits_dir": str(kits)}))
    (kit,) = kits.glob("*.tar.gz")
    lab.run("guest", ["useradd", "--create-home", "--home-dir", HOME, "dora"], check=False)
    put(lab, kit, f"{HOME}/kit.tar.gz")
    person(lab, "tar", "xf", "kit.tar.gz")
    told = person(lab, "sh", "-c", "python3 tw-*/install.py", timeout=180).stdout
    assert "tw is installed" in told
    lab.run("guest", ["cp", "/root/.pgpass", HOME])
    lab.run("guest", ["chown", "dora", f"{HOME}/.pgpass"])
    yield
    lab.run("guest", ["pkill", "-u", "dora"], check=False)
    lab.run("guest", ["userdel", "--force", "--remove", "dora"], check=False)


def put(lab: Lab, file: Path, place: str) -> None:
    """Bring a file to the guest, as a person would by mail or a stick."""
    target = lab.place.tree("guest1") / place.lstrip("/")
    target.write_bytes(file.read_bytes())
    lab.run("guest", ["chown", "dora", place])


def wish(**more: Any) -> dict[str, Any]:
    return {"tenant": "acme", "apps": ["postgres"], "bundle": {"hours": 4}, "comment": "works from home", **more}


def admit(lab: Lab, bundles: Path, *arguments: str, **more: Any) -> Any:
    extra = {"control_bundles_dir": str(bundles), "tw_bundle_passphrases": {"dora": PASSPHRASE}}
    return users(lab, "playbooks/users.yml", {"dora": wish(**more)}, "-e", json.dumps(extra), *arguments)


def test_a_person_in_the_inventory_gets_a_file_and_connects_with_it(lab: Lab, machine: None, tmp_path: Path) -> None:
    try:
        run = admit(lab, tmp_path)
        print(run.stdout[run.stdout.index("Bundles made") :].split("TASK")[0])
        assert "dora types: tw import acme-dora.age, and then: tw connect acme" in run.stdout
        assert PASSPHRASE not in run.stdout
        file = tmp_path / "acme-dora.age"
        assert file.stat().st_mode & 0o777 == 0o600
        assert set(changed(admit(lab, tmp_path).stdout).values()) == {0}

        put(lab, file, f"{HOME}/acme-dora.age")
        (lab.place.tree("guest1") / f"{HOME[1:]}/pass").write_text("not the passphrase at all\n")
        lab.run("guest", ["chown", "dora", f"{HOME}/pass"])
        lab.run("guest", ["chmod", "600", f"{HOME}/pass"])
        refused = person(lab, TW, "import", "acme-dora.age", "--passphrase-file", "pass", check=False)
        assert refused.returncode == 2
        assert "the passphrase is wrong" in refused.stderr
        (lab.place.tree("guest1") / f"{HOME[1:]}/pass").write_text(f"{PASSPHRASE}\n")
        told = person(lab, TW, "import", "acme-dora.age", "--passphrase-file", "pass", timeout=90)
        print(told.stdout)
        assert "now type: tw connect acme" in told.stdout
        again = person(lab, TW, "import", "acme-dora.age", "--passphrase-file", "pass", "--replace", check=False)
        assert again.returncode != 0, "an enrolment is good for one exchange"

        with lab.popen("guest", ["runuser", "-u", "dora", "--", "env", f"HOME={HOME}", TW, "connect"]) as running:
            try:
                lab.wait_until(lambda: queried(lab), 30, "dora's query to be answered")
                status = json.loads(person(lab, TW, "status", "--json").stdout)
                (context,) = status["daemons"]
                assert (context["state"], context["user"]) == ("up", "dora")
                cut_off(lab)
            finally:
                running.terminate()
    finally:
        users(lab, "playbooks/users.yml")
    assert answers(lab)


def queried(lab: Lab) -> bool:
    """Say whether the database answers dora."""
    done = person(lab, "timeout", "10", *QUERY, check=False, timeout=20)
    return done.returncode == 0 and done.stdout.strip() == "42"


def cut_off(lab: Lab) -> None:
    """Remove dora by hand at the server; she is cut off within a second, and nobody else is."""
    began = time.monotonic()
    lab.run("server", ["tw", "user", "remove", "dora", "--yes"])
    lab.wait_until(lambda: "dora" not in online(lab), 5, "dora to be cut off", interval=0.05)
    print(f"removed: gone after {time.monotonic() - began:.2f} s, the command itself included")
    assert "alice" in online(lab)


def online(lab: Lab) -> set[str]:
    """Return who is connected to the first server."""
    status = json.loads(lab.run("server", ["tw", "status", "--json"], check=False).stdout)
    (serve,) = (daemon for daemon in status["daemons"] if daemon["kind"] == "serve")
    return {session["user"] for session in serve["ssh"]["sessions"]}
