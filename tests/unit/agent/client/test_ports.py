"""Where bridges listen instead: how it is written down, put in and refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.agent.bundle.samples import POSTGRES, WEB
from tests.unit.agent.client.stage import Stage
from tests.unit.agent.users.samples import LABELS, PORTS
from tunnel_whisperer import ports
from tunnel_whisperer.config import Bridge, load_connect, read_connect
from tunnel_whisperer.errors import ConfigError
from tunnel_whisperer.ports import LocalEnd
from tunnel_whisperer.problems import InvalidInputError

ADDRESSES = st.one_of(st.ip_addresses(v=4).map(str), st.ip_addresses(v=6).map(str), st.just("localhost"))
ENDS = st.builds(LocalEnd, PORTS, st.none() | ADDRESSES)


@given(end=ENDS)
def test_what_is_typed_is_read(end: LocalEnd) -> None:
    assert ports.read_end(str(end)) == end


@given(ends=st.dictionaries(LABELS, ENDS, max_size=4))
def test_what_is_written_is_loaded(tmp_path_factory: pytest.TempPathFactory, ends: dict[str, LocalEnd]) -> None:
    path = tmp_path_factory.mktemp("ports") / "ports.yml"
    path.write_bytes(ports.write(ends) if ends else b"{}")
    assert ports.load(path) == ends


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", '"" is no port; accepted: a whole number from 1 to 65535'),
        ("0", '"0" is no port'),
        ("65536", '"65536" is no port'),
        ("-1", '"-1" is no port'),
        ("postgres", '"postgres" is no port'),
        ("127.0.0.1:", '"" is no port'),
        (":80", '"" is no host; accepted: a host name or an IP address'),
        ("a b:80", '"a b" is no host'),
        ("::1:80", '"::1:80" is not clear; an IPv6 address goes into brackets: [::1]:8080'),
        ("[::1:80", '"[::1:80" is not clear'),
        ("1" * 300, "is no port"),
    ],
)
def test_what_is_no_end_is_named(text: str, complaint: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the words are looked at below
        ports.read_end(text)
    assert complaint in str(caught.value)


def test_maps_are_read_and_everything_wrong_is_told_at_once() -> None:
    assert ports.read_maps(["a=1", "b=0.0.0.0:2"]) == {"a": LocalEnd(1), "b": LocalEnd(2, "0.0.0.0")}
    with pytest.raises(InvalidInputError) as caught:
        ports.read_maps(["a", "=1", "b=0", "c=1", "c=2"])
    assert caught.value.problems == (
        '--map "a": is of another form; accepted: BRIDGE=PORT or BRIDGE=ADDRESS:PORT',
        '--map "=1": is of another form; accepted: BRIDGE=PORT or BRIDGE=ADDRESS:PORT',
        '--map "b=0": "0" is no port; accepted: a whole number from 1 to 65535',
        '--map "c=2": bridge "c" has been given a place already',
    )


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("postgres: {local_port: 0}", "key 'postgres.local_port': given 0; accepted: a whole number from 1 to 65535"),
        ("postgres: 80", "key 'postgres': given 80; accepted: a mapping"),
        ("postgres: {}", "key 'postgres.local_port' is missing"),
        ("postgres: {local_port: 1, listen: a b}", "key 'postgres.listen': given 'a b'"),
        ("postgres: {local_port: 1, host: a}", "unknown key 'postgres.host'"),
        ("7: {local_port: 1}", "key 7 is no text"),
        ("- a", "its top level is of type list"),
        ("a: [", "is no valid YAML"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "ports.yml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        ports.load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert complaint in str(caught.value)


def test_bridges_move_and_one_that_is_gone_is_no_trouble() -> None:
    moved = ports.moved([POSTGRES, WEB], {"postgres": LocalEnd(1), "gone": LocalEnd(2)}, where="x")
    assert [(bridge.listen, bridge.local_port) for bridge in moved] == [("127.0.0.1", 1), ("127.0.0.1", 8080)]
    swapped = ports.moved([POSTGRES, WEB], {"postgres": LocalEnd(8080), "web-8080": LocalEnd(5432)}, where="x")
    assert [bridge.local_port for bridge in swapped] == [8080, 5432]
    apart = ports.moved([POSTGRES, WEB], {"postgres": LocalEnd(8080, "127.0.0.2")}, where="x")
    assert [bridge.local_port for bridge in apart] == [8080, 8080]
    assert ports.moved([POSTGRES, WEB], {"postgres": LocalEnd(8080, "::1")}, where="x")[0].listen == "::1"


@pytest.mark.parametrize("end", [LocalEnd(8080), LocalEnd(8080, "0.0.0.0"), LocalEnd(8080, "localhost")])
def test_two_bridges_at_one_place_are_refused(end: LocalEnd) -> None:
    with pytest.raises(ConfigError) as caught:
        ports.moved([POSTGRES, WEB], {"postgres": end}, where="ports.yml")
    assert str(caught.value) == (
        'ports.yml: bridges "postgres" and "web-8080" would both listen at 127.0.0.1:8080 '
        "(give one of them another port)"
    )


def test_only_what_others_can_reach_is_warned_of() -> None:
    bridges = [
        Bridge(name=str(index), port=1, local_port=1, listen=listen)
        for index, listen in enumerate(
            ["127.0.0.1", "127.0.0.9", "::1", "localhost", "0.0.0.0", "::", "10.0.0.1", "db"]
        )
    ]
    assert [warning.split()[1] for warning in ports.beyond_loopback(bridges)] == ["4", "5", "6", "7"]
    assert ports.beyond_loopback(bridges)[0] == (
        "bridge 4 listens at 0.0.0.0:1: whoever reaches this host there reaches the server's port"
    )


def test_connect_yml_is_loaded_with_what_ports_yml_and_maps_say(stage: Stage) -> None:
    context = stage.context("acme", stage.own)
    path = context.directory / "ports.yml"
    path.write_bytes(ports.write({"postgres": LocalEnd(1), "web-8080": LocalEnd(2, "0.0.0.0")}))
    assert [ports.place_of(bridge) for bridge in load_connect(context.file).bridges] == ["127.0.0.1:1", "0.0.0.0:2"]
    mapped = load_connect(context.file, {"postgres": LocalEnd(3)})
    assert [ports.place_of(bridge) for bridge in mapped.bridges] == ["127.0.0.1:3", "0.0.0.0:2"]
    assert read_connect(context.file).bridges == (POSTGRES, WEB)
    with pytest.raises(ConfigError, match=f"^{path} and --map: bridges"):
        load_connect(context.file, {"postgres": LocalEnd(2)})
    path.write_bytes(ports.write({"postgres": LocalEnd(8080)}))
    with pytest.raises(ConfigError, match=f"^{path}: bridges"):
        load_connect(context.file)
    assert load_connect(context.file, {"postgres": LocalEnd(3)}).bridges[0].local_port == 3
