"""The lab's other pure parts: the image's recipe and source, resolvers, cgroups, the inventory, waiting and running."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import pytest
import yaml

from tests.lab import cgroups, cli, image, inventory, machine, services
from tests.lab.commands import CommandFailed, LabError, run, wait_until
from tests.lab.paths import Place, locked
from tests.lab.plan import Plan, Shape

TARGETS = """\
http://mirror.invalid/debian/|bookworm-updates|Debian|/etc/apt/sources.list.d/a.sources:1
http://security.invalid/|bookworm-security|Debian|/etc/apt/sources.list.d/a.sources:2
http://other.invalid/apt|nodistro|Vendor|/etc/apt/sources.list.d/b.list:1
"""


def test_an_image_is_known_by_everything_that_made_it() -> None:
    recipe = image.Recipe("bookworm", "amd64", "http://mirror.invalid/debian")
    others = [
        dataclasses.replace(recipe, packages=(*recipe.packages, "vim")),
        dataclasses.replace(recipe, finish="true"),
        dataclasses.replace(recipe, mirror="http://else.invalid/debian"),
    ]
    assert recipe.key.startswith("bookworm-amd64-")
    assert recipe.key == dataclasses.replace(recipe).key
    assert len({recipe.key, *(other.key for other in others)}) == 4


def test_the_mirror_of_the_wanted_release_comes_first() -> None:
    exact = "http://exact.invalid/debian/|bookworm|Debian|/etc/apt/sources.list:3\n"
    assert image.choose_source(TARGETS + exact, "bookworm") == ("http://exact.invalid/debian", "/etc/apt/sources.list")


def test_a_mirror_of_another_release_of_debian_will_do_but_no_vendor_and_no_security_archive() -> None:
    found = image.choose_source(TARGETS, "bookworm")
    assert found == ("http://mirror.invalid/debian", "/etc/apt/sources.list.d/a.sources")
    assert image.choose_source(TARGETS.splitlines()[2], "bookworm") is None
    assert image.choose_source("", "bookworm") is None


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Types: deb\nSigned-By: /usr/share/keyrings/a.gpg\n", Path("/usr/share/keyrings/a.gpg")),
        ("deb [arch=amd64 signed-by=/k/b.gpg] http://mirror.invalid bookworm main", Path("/k/b.gpg")),
        ("deb http://mirror.invalid bookworm main", None),
    ],
)
def test_the_keyring_is_the_one_the_source_names(text: str, found: Path | None) -> None:
    assert image.signed_by(text) == found


def test_a_local_stub_is_replaced_by_the_resolvers_behind_it() -> None:
    assert services.upstream_servers("nameserver 10.9.9.9\nnameserver 127.0.0.1\n") == ["10.9.9.9"]
    assert services.upstream_servers("# none\nnameserver 127.0.0.53\n", "nameserver 10.8.8.8\n") == ["10.8.8.8"]
    assert services.upstream_servers("nameserver 127.0.0.53\n", "nameserver fe80::1\n") == []


def test_the_public_dns_knows_relays_and_nothing_beyond_the_lab() -> None:
    text = services.public_dns(Plan(Shape(relays=2)))
    assert "host-record=relay2.example.test,203.0.113.11" in text
    assert "address=/#/" in text
    assert "server=" not in text
    assert "server=/example.test/203.0.113.53" in services.control_dns(["10.9.9.9"])


def test_systemds_cgroup_trees_are_found_on_old_and_new_machines() -> None:
    new = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate"
    hybrid = (
        "40 33 0:35 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n"
        "41 33 0:36 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n"
        "42 33 0:37 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
        "43 33 0:37 /a /mnt/part rw - cgroup2 cgroup2 rw\n"
    )
    assert cgroups.hierarchies(new) == [Path("/sys/fs/cgroup")]
    assert cgroups.hierarchies(hybrid) == [Path("/sys/fs/cgroup/systemd"), Path("/sys/fs/cgroup/unified")]


def test_missing_programs_are_named_by_package_once() -> None:
    assert machine.missing_packages(machine.TOOLS, lambda _tool: "/usr/bin/it") == []
    assert machine.missing_packages(machine.TOOLS, lambda tool: tool not in {"nft", "pebble"}) == ["nftables", "pebble"]


def test_the_inventory_is_plain_data_of_the_three_groups() -> None:
    text = yaml.safe_dump(inventory.inventory(Plan(Shape(servers=2)), Place.of("demo")))
    data = yaml.safe_load(text)["all"]
    assert set(data["children"]) == {"tw_relays", "tw_servers", "tw_clients"}
    assert data["children"]["tw_relays"]["hosts"]["relay1"]["ansible_host"] == "relay.example.test"
    assert data["children"]["tw_servers"]["hosts"]["server2"]["server_tenant"] == "globex"
    assert data["vars"]["tw_users"]["alice"] == {"tenant": "acme", "apps": ["postgres"], "host": "client1"}
    assert data["vars"]["tw_users"]["bob"]["local_ports"] == {5432: 15432}


def test_waiting_returns_the_answer_and_names_what_did_not_come() -> None:
    answers = iter([0, 0, 7])
    assert wait_until(lambda: next(answers), 5, "seven", interval=0) == 7

    def refuses() -> bool:
        raise LabError("not yet")

    with pytest.raises(LabError, match="waited 0 s for it: not yet\nthe log"):
        wait_until(refuses, 0, "it", interval=0, explain=lambda: "the log")


def test_a_failed_program_is_told_with_its_output() -> None:
    with pytest.raises(CommandFailed, match="status 3: broken") as caught:
        run([sys.executable, "-c", "import sys; sys.exit(print('broken') or 3)"])
    assert caught.value.result.returncode == 3
    with pytest.raises(LabError, match="'no-such-program' is not on this machine"):
        run(["no-such-program"])


def test_a_lock_that_shall_go_goes(tmp_path: Path) -> None:
    lock = tmp_path / "locks" / "x.lock"
    with locked(lock, keep=False):
        assert lock.exists()
    assert not lock.exists()
    with locked(lock):
        pass
    assert lock.exists()


def test_a_lab_that_does_not_stand_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TW_LAB_DIR", str(tmp_path))
    assert cli.main(["inventory", "--name", "nobody"]) == 1
    assert "there is no lab 'nobody'" in capsys.readouterr().err
    assert cli.main(["list"]) == 0
    assert capsys.readouterr().out == "no labs\n"
