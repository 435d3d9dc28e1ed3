"""Reading what a relay's host says about itself."""

from __future__ import annotations

import socket

import pytest
from ansible_collections.tunnel_whisperer.tw.plugins.module_utils import relay_host

TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 666896 1 0 100 0 0 10 0
   1: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0
   2: 0100007F:B7FA 0100007F:0016 06 00000000:00000000 03:00000733 00000000     0        0 0 3 0
"""
LONG = "00000000000000000000000001000000:0016 00000000000000000000000000000000:0000"
TCP6 = f"""\
  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when
   0: {LONG} 0A 00000000:00000000 00:00000000 00000000     0        0 99 1 0
"""
TRIE = """\
Local:
  +-- 0.0.0.0/0 3 0 5
     |-- 203.0.113.0
        /24 link UNICAST
     |-- 203.0.113.10
        /32 host LOCAL
     |-- 203.0.113.255
        /32 link BROADCAST
     |-- 127.0.0.1
        /32 host LOCAL
"""


def test_listeners_are_read_and_connections_are_not() -> None:
    assert list(relay_host.parse_listeners(TCP)) == [("127.0.0.1", 22, "666896"), ("0.0.0.0", 80, "4711")]
    assert list(relay_host.parse_listeners(TCP6)) == [("::1", 22, "99")]


def test_a_listener_of_this_very_process_is_found_with_its_name() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        (found,) = [row for row in relay_host.listeners() if row["port"] == port]
    assert found["address"] == "127.0.0.1"
    assert found["process"]
    assert found["pid"] > 0


def test_own_addresses_are_not_networks_or_broadcasts() -> None:
    assert relay_host.parse_fib_trie(TRIE) == {"203.0.113.10", "127.0.0.1"}


def test_names_resolve_or_do_not() -> None:
    assert relay_host.resolve("127.0.0.1") == ["127.0.0.1"]
    assert relay_host.resolve("nothing.invalid") == []
    assert relay_host.resolve("a" * 70 + ".example") == []


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ("OpenSSH_9.2p1 Debian-2+deb12u3, OpenSSL 3.0.14", (9, 2)),
        ("OpenSSH_10.0p2 Debian-7, OpenSSL 3.5.1", (10, 0)),
        ("dropbear", (0, 0)),
    ],
)
def test_versions_of_openssh(said: str, version: tuple[int, int]) -> None:
    assert relay_host.openssh_version(said) == version


def test_lines_that_say_where_to_listen_add_up() -> None:
    others = "#ListenAddress ::\nPort 22\nListenAddressX 1\n#tw-relay# ListenAddress 1.2.3.4\n"
    text = f"{others}ListenAddress 0.0.0.0\n  listenaddress ::\n"
    assert relay_host.listen_lines(text) == ["ListenAddress 0.0.0.0", "listenaddress ::"]


@pytest.mark.parametrize(
    ("text", "reads"),
    [
        ("Include /etc/ssh/sshd_config.d/*.conf\nPort 22\n", True),
        ("#Include /etc/ssh/sshd_config.d/*.conf\n", False),
        ("Match User a\nInclude /etc/ssh/sshd_config.d/*.conf\n", False),
        ("Include /etc/ssh/other.conf\n", False),
        ("include /etc/other /etc/ssh/sshd_config.d/*.conf\n", True),
    ],
)
def test_whether_drop_ins_are_read(text: str, reads: bool) -> None:
    assert relay_host.includes_drop_ins(text) is reads
