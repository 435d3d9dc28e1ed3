"""Rules that agent and collection each have to know, since a relay has no agent, are the same in both."""

from __future__ import annotations

import base64

import pytest
from ansible_collections.tunnel_whisperer.tw.plugins.module_utils import relay_cell
from hypothesis import example, given
from hypothesis import strategies as st

from tunnel_whisperer import names
from tunnel_whisperer.link.link import CELL
from tunnel_whisperer.users import keys

BLOB = base64.b64encode(b"\0\0\0\x0bssh-ed25519\0\0\0 " + bytes(range(32))).decode()


@given(st.one_of(st.from_regex(r"[a-z0-9.A-Z-]{0,26}\n?", fullmatch=True), st.text(max_size=30)))
@example("operator")
@example("caddy")
@example("acme")
@example("x" * names.MAX_TENANT)
@example("x" * (names.MAX_TENANT + 1))
def test_tenants_may_have_the_same_names(name: str) -> None:
    assert bool(names.tenant_fault(name)) == bool(relay_cell.tenant_problem(name))


def test_what_is_reserved_is_reserved_for_both() -> None:
    assert set(relay_cell.RESERVED_TENANTS) == names.RESERVED_TENANTS
    assert relay_cell.NAME_LIMIT == names.MAX_TENANT
    assert relay_cell.SERVER in names.RESERVED_USERS


def test_a_cell_has_the_same_ports() -> None:
    assert (CELL.ssh, CELL.xray_api) == (relay_cell.SSH_PORT, relay_cell.API_PORT)
    assert tuple(relay_cell.REVERSE_PORTS) == CELL.reverse


@pytest.mark.parametrize(
    "line",
    [
        f"ssh-ed25519 {BLOB}",
        f"ssh-ed25519 {BLOB} root@server",
        f"ssh-ed25519 {BLOB[:-4]}",
        f"ssh-ed25519 {BLOB}AAAA",
        "ssh-ed25519 !!!!",
        "ssh-ed25519",
        "",
        f'permitopen="*:*" ssh-ed25519 {BLOB}',
        f"ssh-ed25519 {BLOB}\nssh-ed25519 {BLOB}",
        f"ssh-rsa {BLOB}",
    ],
)
def test_the_servers_key_is_read_in_the_same_way(line: str) -> None:
    try:
        read = keys.read_public_key(line)
    except ValueError:
        assert relay_cell.public_key_problem(line)
    else:
        assert relay_cell.public_key_problem(line) == ""
        assert str(read) in (line, relay_cell.bare_key(line))
