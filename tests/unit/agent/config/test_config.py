"""Configuration files: what is accepted, and that each complaint names file, key, what was given and is accepted."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tunnel_whisperer import places
from tunnel_whisperer.config import (
    Bridge,
    ConnectConfig,
    DialConfig,
    RelayConfig,
    ServeConfig,
    load_any,
    load_connect,
    load_dial,
    load_serve,
)
from tunnel_whisperer.errors import ConfigError

KEY_TYPE = b"ssh-ed25519"
BLOB = base64.b64encode(b"\0\0\0\x0b" + KEY_TYPE + b"\0\0\0\x20" + bytes(32)).decode()
HOST_KEY = f"ssh-ed25519 {BLOB}"

RELAY: dict[str, Any] = {"host": "relay.example.com"}
SERVE: dict[str, Any] = {"tenant": "acme", "relay": RELAY, "relay_host_keys": [HOST_KEY]}
CONNECT: dict[str, Any] = {
    "tenant": "acme",
    "user": "alice",
    "relay": RELAY,
    "server_host_keys": [f"{HOST_KEY} a comment"],
    "bridges": [{"name": "postgres", "port": 5432}, {"name": "web", "port": 80, "local_port": 8080, "host": "db"}],
}
DIAL: dict[str, Any] = {"relay": RELAY}


def write(directory: Path, name: str, config: object) -> Path:
    path = directory / name
    path.write_text(config if isinstance(config, str) else yaml.safe_dump(config))
    return path


def test_a_short_serve_yml_has_the_usual_places(tmp_path: Path) -> None:
    assert load_serve(write(tmp_path, "serve.yml", SERVE)) == ServeConfig(
        tenant="acme", relay=RelayConfig("relay.example.com"), relay_host_keys=(HOST_KEY,)
    )


def test_a_connect_yml_takes_context_and_identity_from_its_folder(tmp_path: Path) -> None:
    directory = tmp_path / "office"
    directory.mkdir()
    assert load_connect(write(directory, "connect.yml", CONNECT)) == ConnectConfig(
        context="office",
        tenant="acme",
        user="alice",
        relay=RelayConfig("relay.example.com"),
        server_host_keys=(HOST_KEY,),
        identity_dir=directory,
        bridges=(
            Bridge(name="postgres", port=5432, local_port=5432),
            Bridge(name="web", port=80, local_port=8080, host="db"),
        ),
        runtime_dir=places.places()[0].run / "tw-connect-office",
        state_dir=places.places()[0].state / "office",
    )


def test_relative_paths_count_from_the_file(tmp_path: Path) -> None:
    config = DIAL | {"identity_dir": "id", "xray": "../bin/xray", "runtime_dir": "run"}
    relay = {**RELAY, "roots_file": "roots.pem", "profile": "h1", "links": 3, "port": 8443}
    loaded = load_dial(write(tmp_path, "dial.yml", config | {"relay": relay}))
    assert loaded == DialConfig(
        relay=RelayConfig("relay.example.com", 8443, "h1", tmp_path / "roots.pem", 3),
        identity_dir=tmp_path / "id",
        xray=tmp_path / "../bin/xray",
        runtime_dir=tmp_path / "run",
    )


@pytest.mark.parametrize(("config", "kind"), [(SERVE, ServeConfig), (CONNECT, ConnectConfig), (DIAL, DialConfig)])
def test_a_file_tells_by_its_keys_what_it_is(tmp_path: Path, config: object, kind: type) -> None:
    directory = tmp_path / "acme"
    directory.mkdir()
    assert isinstance(load_any(write(directory, "some.yml", config)), kind)


BAD = [
    # what is changed in connect.yml, and what the complaint has to say
    ({"tenant": "Acme"}, "key 'tenant': given 'Acme'; accepted: the tenant's name; 'Acme' is no lower-case DNS label"),
    ({"tenant": "operator"}, "'operator' is reserved"),
    ({"tenant": "a" * 25}, "has 25 characters; at most 24 are accepted"),
    ({"tenant": 7}, "key 'tenant': given 7; accepted: the tenant's name"),
    ({"user": "server"}, "'server' is reserved"),
    ({"user": None}, "key 'user': given nothing; accepted: the user's name"),
    ({"relay": "relay.example.com"}, "key 'relay': given 'relay.example.com'; accepted: a mapping"),
    ({"relay": {}}, "key 'relay.host' is missing; accepted: a host name or an IP address"),
    (
        {"relay": {"hots": "a"}},
        "key 'relay.host' is missing; accepted: a host name or an IP address; 'relay.hots' looks",
    ),
    (
        {"relay": {"host": "a:443"}},
        "given 'a:443'; accepted: a host name or an IP address; a port has a key of its own",
    ),
    ({"relay": {"host": "a b"}}, "key 'relay.host': given 'a b'"),
    ({"relay": {"host": "a", "port": 0}}, "key 'relay.port': given 0; accepted: a whole number from 1 to 65535"),
    ({"relay": {"host": "a", "port": "443"}}, "key 'relay.port': given '443'"),
    ({"relay": {"host": "a", "port": True}}, "key 'relay.port': given True"),
    ({"relay": {"host": "a", "profile": "h3"}}, "key 'relay.profile': given 'h3'; accepted: h2, h1"),
    ({"relay": {"host": "a", "links": 99}}, "key 'relay.links': given 99; accepted: a whole number from 1 to 8"),
    ({"server_host_keys": []}, "key 'server_host_keys': given []; accepted: at least one of: an OpenSSH public key"),
    ({"server_host_keys": HOST_KEY}, "key 'server_host_keys': given 'ssh-ed25519"),
    ({"server_host_keys": ["ssh-ed25519"]}, "key 'server_host_keys[0]': given 'ssh-ed25519'; accepted: an OpenSSH"),
    ({"server_host_keys": ["ssh-ed25519 !"]}, "is damaged: the word after its type is no base64"),
    ({"server_host_keys": [f"ssh-rsa {BLOB}"]}, "is damaged: it says ssh-rsa, but its data is of another type"),
    ({"server_host_keys": [f"ssh-ed25519 {BLOB[:40]}"]}, "is cut short"),
    ({"server_host_keys": [f"{HOST_KEY} {HOST_KEY}"]}, "holds two keys; one is wanted"),
    ({"bridges": {"name": "a"}}, "key 'bridges': given {'name': 'a'}; accepted: a list of mappings"),
    ({"bridges": ["a"]}, "key 'bridges[0]': given 'a'; accepted: a mapping"),
    ({"bridges": [{"name": "a"}]}, "key 'bridges[0].port' is missing"),
    ({"bridges": [{"name": "a", "port": 1}] * 2}, "key 'bridges[1].name': given 'a'; accepted: a name no other bridge"),
    (
        {"bridges": [{"name": "a", "port": 1}, {"name": "b", "port": 2, "local_port": 1}]},
        "key 'bridges[1].local_port': given 1; accepted: a port that bridge 'a' does not take",
    ),
    ({"bridges": [{"name": "a", "port": 1, "prot": 2}]}, "unknown key 'bridges[0].prot'; did you mean 'port'?"),
    ({"runtime_dir": "/run/" + "x" * 100}, "key 'runtime_dir': given '/run/xxx"),
    ({"runtime_dir": "/run/a,b"}, "a path without a comma"),
    ({"usr": "alice"}, "unknown key 'usr'; did you mean 'user'?"),
    ({"zzz": 1}, "unknown key 'zzz'; known keys: bridges, context,"),
]


@pytest.mark.parametrize(("change", "complaint"), BAD)
def test_bad_input_is_named(tmp_path: Path, change: dict[str, object], complaint: str) -> None:
    path = write(tmp_path, "connect.yml", CONNECT | {"context": "acme"} | change)
    with pytest.raises(ConfigError) as caught:
        load_connect(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a: [", "is no valid YAML in line"),
        ("tenant: a\ntenant: b\n", "is no valid YAML in line 2: key 'tenant' is given twice"),
        ("relay:\n  host: a\n  host: b\n", "is no valid YAML in line 3: key 'host' is given twice"),
        ("", "its top level is of type NoneType; accepted: a mapping"),
        ("- a", "its top level is of type list; accepted: a mapping"),
        ("a: !!python/name:os.system", "is no valid YAML in line 1"),
    ],
)
def test_what_is_no_mapping_is_named_without_showing_what_it_holds(tmp_path: Path, text: str, complaint: str) -> None:
    path = write(tmp_path, "serve.yml", text)
    with pytest.raises(ConfigError) as caught:
        load_serve(path)
    assert str(caught.value).startswith(f"{path}: {complaint}")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file or directory"):
        load_serve(tmp_path / "serve.yml")
    (tmp_path / "binary.yml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="is no UTF-8 text"):
        load_serve(tmp_path / "binary.yml")


@given(key=st.text(alphabet="abcdefghijklmnopqrstuvwxyz_", min_size=1))
def test_no_key_is_ignored(tmp_path_factory: pytest.TempPathFactory, key: str) -> None:
    known = {
        "context",
        "tenant",
        "user",
        "relay",
        "server_host_keys",
        "identity_dir",
        "bridges",
        "runtime_dir",
        "state_dir",
        "xray",
    }
    if key in known:
        return
    path = write(tmp_path_factory.mktemp("config"), "connect.yml", CONNECT | {"context": "acme", key: 1})
    with pytest.raises(ConfigError, match=f"unknown key '{key}'"):
        load_connect(path)
