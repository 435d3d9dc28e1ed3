"""What the files of a cell say."""

from __future__ import annotations

import base64
import json
import string
from typing import Any

import pytest
from ansible_collections.tunnel_whisperer.tw.plugins.module_utils import relay_cell
from hypothesis import given
from hypothesis import strategies as st

UUID = "7c0b9a8e-2b6e-4a4b-8a45-0d7d3a1b2c3d"
BLOB = base64.b64encode(b"\0\0\0\x0bssh-ed25519\0\0\0 " + bytes(range(32))).decode()
KEY = f"ssh-ed25519 {BLOB} root@server"


def routes(config: dict[str, Any], user: str, port: int, ip: str = "127.0.0.1", network: str = "tcp") -> str:
    """Follow the routing as Xray does: the first rule that fits, else the first outbound."""
    for rule in config["routing"]["rules"]:
        low, _, high = str(rule.get("port", "0-65535")).partition("-")
        fits = [
            user in rule.get("user", [user]),
            ip in rule.get("ip", [ip]),
            network in rule.get("network", network),
            int(low) <= port <= int(high or low),
        ]
        if all(fits):
            return str(rule["outboundTag"])
    return str(config["outbounds"][0]["tag"])


@given(st.integers(1, 65535))
def test_the_server_gets_to_sshd_and_users_to_the_reverse_forwards(port: int) -> None:
    config = json.loads(relay_cell.xray_config("acme", UUID))
    assert (routes(config, "server", port) == "loopback") == (port == 22)
    assert (routes(config, "alice", port) == "loopback") == (2222 <= port <= 2229)
    for ip, network in (("10.0.0.1", "tcp"), ("127.0.0.2", "tcp"), ("127.0.0.1", "udp")):
        assert routes(config, "alice", port, ip, network) == routes(config, "server", port, ip, network) == "nowhere"


@given(st.integers(1, 65535))
def test_operators_get_to_the_hosts_sshd(port: int) -> None:
    config = json.loads(relay_cell.operator_config({"primary": UUID, "spare": UUID}))
    assert (routes(config, "primary", port) == "loopback") == (port == 22)
    assert routes(config, "primary", port, "10.0.0.1") == "nowhere"
    assert "api" not in config


def test_a_cell_admits_the_server_alone_and_believes_caddy_about_addresses() -> None:
    config = json.loads(relay_cell.xray_config("acme", UUID))
    (inbound,) = config["inbounds"]
    assert inbound["settings"]["clients"] == [{"id": UUID, "email": "server", "level": 0}]
    assert inbound["listen"] == "/run/tw-relay/acme/xray.sock,0660"
    assert inbound["streamSettings"]["sockopt"]["trustedXForwardedFor"] == ["X-TW-Edge"]
    assert config["outbounds"][1]["settings"]["finalRules"] == [{"action": "allow", "ip": ["127.0.0.0/8"]}]
    assert config["policy"]["levels"]["0"]["statsUserOnline"] is True
    assert config["policy"]["levels"]["0"]["connIdle"] >= 86400


def test_the_key_is_good_for_forwards_only() -> None:
    line = relay_cell.authorized_keys(KEY)
    assert line.startswith("restrict,port-forwarding,")
    assert [port for port in range(1, 65536) if f'permitlisten="127.0.0.1:{port}"' in line] == list(range(2222, 2230))
    assert line.count("permitopen=") == 1
    assert 'permitopen="127.0.0.1:10085"' in line
    assert line.endswith(f" ssh-ed25519 {BLOB}\n")


def test_sshd_refuses_what_the_key_options_do_not_cover() -> None:
    words = relay_cell.sshd_config("acme", (9, 2)).splitlines()
    for line in ("MaxSessions 0", "AllowStreamLocalForwarding no", "UsePAM no", "PermitTTY no", "AllowUsers tw-acme"):
        assert line in words


@pytest.mark.parametrize(("version", "said"), [((8, 9), False), ((9, 2), False), ((9, 8), True), ((10, 0), True)])
def test_penalties_for_all_of_a_cell_are_turned_off_where_there_are_any(version: tuple[int, int], said: bool) -> None:
    assert ("PerSourcePenalties no" in relay_cell.sshd_config("acme", version)) == said


def test_a_kept_tenant_is_read_back_from_its_files() -> None:
    files = {
        "xray.json": relay_cell.xray_config("acme", UUID),
        "authorized_keys": relay_cell.authorized_keys(KEY),
    }
    assert relay_cell.read_tenant(files) == {"uuid": UUID, "public_key": f"ssh-ed25519 {BLOB}"}


@pytest.mark.parametrize("name", ["acme", "a", "a-1", "x" * 24, "0"])
def test_good_tenant_names(name: str) -> None:
    assert relay_cell.tenant_problem(name) == ""


@pytest.mark.parametrize(
    "name", ["", "Acme", "-a", "a-", "a.b", "a_b", "x" * 25, "operator", "caddy", "a\n", "ä", None, 7]
)
def test_bad_tenant_names_are_named(name: object) -> None:
    assert relay_cell.tenant_problem(name)


@given(st.text(alphabet=string.ascii_lowercase + string.digits + "-./_A\n", max_size=30))
def test_a_name_that_passes_is_safe_in_paths_units_and_user_names(name: str) -> None:
    if not relay_cell.tenant_problem(name):
        assert len(f"tw-{name}") <= 31
        assert set(name) <= set(string.ascii_lowercase + string.digits + "-")


@pytest.mark.parametrize("uuid", [None, "", UUID.upper(), UUID[:-1], UUID + "0", UUID + "\n"])
def test_a_bad_uuid_is_refused_and_not_repeated(uuid: str | None) -> None:
    problem = relay_cell.uuid_problem(uuid)
    assert problem
    assert not uuid or uuid not in problem


def test_good_identity() -> None:
    assert relay_cell.uuid_problem(UUID) == ""
    assert relay_cell.public_key_problem(KEY) == ""


@pytest.mark.parametrize(
    "line",
    [
        None,
        "",
        "ssh-rsa AAAA",
        f"ssh-ed25519 {BLOB[:-4]}",
        "ssh-ed25519 !!!!",
        f'permitopen="*:*" {KEY}',
        f"{KEY}\n{KEY}",
    ],
)
def test_a_bad_public_key_is_refused(line: str | None) -> None:
    assert relay_cell.public_key_problem(line)


def test_diffs_show_no_secret() -> None:
    assert UUID not in relay_cell.masked(relay_cell.xray_config("acme", UUID))
    assert UUID not in relay_cell.masked(relay_cell.operator_config({"primary": UUID}))
