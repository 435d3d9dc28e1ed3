"""Bundles: what goes in comes out, and what cannot be used is refused whole, with what is wrong and what to do."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.agent.bundle.samples import (
    PASSPHRASE,
    chain,
    changed,
    for_enrolment,
    keys,
    sealed,
    sound,
    to_keys,
    to_passphrase,
)
from tests.unit.agent.users.samples import HOSTS, LABELS, PORTS, real_lines
from tunnel_whisperer import names, pki
from tunnel_whisperer.bundle import Bundle, read, seal, unseal, write
from tunnel_whisperer.config import Bridge
from tunnel_whisperer.errors import ConfigError
from tunnel_whisperer.problems import InvalidInputError

FILE = "alice.age"
OTHER_KEY = b"AGE-SECRET-KEY-17CVSXWDYFLH7N70YHHUXEH3T6AM0HY7AHQMSGW550T7ZUJ3SUZNSPKWKHP"


def opened(data: bytes, **how: Any) -> Bundle:
    return unseal(data, where=FILE, **(how or {"identities": [keys()[0].encode()]}))


def refusal(data: bytes, **how: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        opened(data, **how)
    text = str(caught.value)
    assert text.startswith(f"{FILE}: ")
    assert "\n" not in text
    return text.removeprefix(f"{FILE}: ")


def document() -> dict[str, Any]:
    made: dict[str, Any] = json.loads(write(sound()))
    return made


def zip_with_dots() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("../../etc/tw/connect/acme/connect.yml", "x")
    return out.getvalue()


def test_what_goes_in_comes_out() -> None:
    assert opened(sealed()) == sound()
    assert opened(sealed(for_enrolment())) == for_enrolment()


def test_no_secret_is_shown() -> None:
    shown = repr(sound())
    assert "PRIVATE KEY" not in shown
    assert sound().uuid not in shown


@given(
    user=LABELS.filter(lambda name: names.user_fault(name) is None),
    bridges=st.dictionaries(LABELS, st.tuples(HOSTS, PORTS, PORTS), min_size=1, max_size=4),
    days=st.integers(0, 4000),
)
def test_any_bundle_survives_the_trip(user: str, bridges: dict[str, tuple[str, int, int]], days: int) -> None:
    local = {ends[2]: name for name, ends in bridges.items()}
    bundle = replace(
        sound(),
        user=user,
        bridges=tuple(
            Bridge(name=name, host=bridges[name][0], port=bridges[name][1], local_port=port)
            for port, name in local.items()
        ),
        until=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=days),
    )
    assert read(write(bundle), where=FILE) == bundle


AGAIN = " (get it again from whoever made it, and send it as a file, not as text)"
NO_FILE = [
    ("an empty file", b"", "is empty"),
    ("a zip archive", zip_with_dots(), "is a zip archive: this is no bundle"),
    ("plain JSON", write(sound()), "is plain JSON, not sealed: this is no bundle"),
    ("random bytes", bytes(range(256)), "does not begin as an age file does: this is no bundle"),
    ("gzip", b"\x1f\x8b\x08\0", "is a gzip archive: this is no bundle"),
    ("a key in PEM form", sound().tls_key.encode(), "is a file in PEM form: this is no bundle"),
    (
        "an age file as text",
        b"-----BEGIN AGE ENCRYPTED FILE-----\n",
        "is an age file in its form as text, and a bundle is binary: this is no bundle",
    ),
    ("more than 1 MiB", sealed() + bytes(1024 * 1024), "has more than 1048576 bytes, and no bundle has"),
    (
        "another version of age",
        sealed().replace(b"/v1", b"/v2", 1),
        'is of version "v2" of the age format, and v1 is known here',
    ),
    ("cut in its first line", sealed()[:15], "is cut short"),
    ("cut in its header", sealed()[:80], "is cut short, or altered on its way"),
    ("cut in its body", sealed()[:-100], "is damaged: cut short, or altered on its way"),
    ("something behind it", sealed() + b"x", "is damaged: cut short, or altered on its way"),
    (
        "a lock of another kind",
        b"age-encryption.org/v1\n-> quantum x\nabc\n--- abc\n",
        "is sealed in a way that is not known here, or was altered on its way",
    ),
    (
        "a work factor of 30",
        to_passphrase(b"{}", said="30"),
        "asks for more work than any bundle does; it was altered, or is meant to do harm",
    ),
    (
        "a work factor of -1",
        to_passphrase(b"{}", said="-1"),
        "asks for more work than any bundle does; it was altered, or is meant to do harm",
    ),
]


@pytest.mark.parametrize(("data", "complaint"), [case[1:] for case in NO_FILE], ids=[case[0] for case in NO_FILE])
def test_what_is_no_sealed_bundle_is_named(data: bytes, complaint: str) -> None:
    assert refusal(data) == complaint + AGAIN


def test_one_bit_altered_anywhere_is_noticed() -> None:
    """At no place does an altered file open, and each refusal says that it was altered, or what it looks like now."""
    data = to_keys(b"{}")
    for place in range(len(data) * 8):
        altered = bytearray(data)
        altered[place // 8] ^= 1 << place % 8
        text = refusal(bytes(altered))
        assert "altered" in text or "no bundle" in text or "of the age format" in text


def test_a_bundle_cut_anywhere_is_refused() -> None:
    data = to_keys(b"{}")
    for length in range(len(data)):
        text = refusal(data[:length])
        assert "is empty" in text or "cut short" in text or "altered on its way" in text


ASK = "mind capital letters and spaces; else ask whoever made the file"
GIVE_THAT_KEY = "give that key by --identity, or have the file made for yours"
WRONG = "or the file was altered on its way"
GIVE_KEY = "give the file of your private key: --identity ~/.ssh/id_ed25519"
LOCKS = [
    (
        "a wrong passphrase",
        to_passphrase(write(sound())),
        {"passphrase": "correct horse batterx"},
        f"is not opened: the passphrase is wrong, {WRONG} ({ASK})",
    ),
    (
        "a wrong key",
        sealed(),
        {"identities": [OTHER_KEY]},
        f"is not opened: it was sealed to another key, {WRONG} ({GIVE_THAT_KEY})",
    ),
    (
        "a key where a passphrase is needed",
        to_passphrase(b"{}"),
        {"identities": [OTHER_KEY]},
        "is sealed to a passphrase, which no key opens (give the passphrase that came with it)",
    ),
    (
        "a passphrase where a key is needed",
        sealed(),
        {"passphrase": PASSPHRASE},
        f"is sealed to a key, which no passphrase opens ({GIVE_KEY})",
    ),
    (
        "nothing where a key is needed",
        sealed(),
        {"passphrase": None},
        f"is sealed to a key ({GIVE_KEY})",
    ),
    (
        "nothing where a passphrase is needed",
        to_passphrase(b"{}"),
        {"passphrase": None},
        "is sealed to a passphrase (give the passphrase that came with it)",
    ),
]


@pytest.mark.parametrize(("data", "how", "complaint"), [case[1:] for case in LOCKS], ids=[case[0] for case in LOCKS])
def test_what_does_not_open_it_is_said(data: bytes, how: dict[str, Any], complaint: str) -> None:
    assert refusal(data, **how) == complaint


def test_a_passphrase_opens_it_and_an_altered_body_is_noticed() -> None:
    data = to_passphrase(write(sound()))
    assert opened(data, passphrase=PASSPHRASE) == sound()
    altered = data[:-50] + bytes([data[-50] ^ 1]) + data[-49:]
    assert refusal(altered, passphrase=PASSPHRASE) == "is damaged: cut short, or altered on its way" + AGAIN


VERSIONS = "install a newer tw here, or have the bundle made by an older one"
NOT_OURS = [
    ("no JSON", b"hello", "holds no JSON (it was not made by tw)"),
    ("no UTF-8", b'{"\xff": 1}', "holds no JSON (it was not made by tw)"),
    ("JSON too deep", b"[" * 100_000, "holds no JSON (it was not made by tw)"),
    (
        "a key twice",
        b'{"format": 1, "format": 2}',
        'holds no JSON: key "format" is given twice (it was not made by tw)',
    ),
    ("not a number", b'{"format": NaN}', "holds no JSON: NaN is no number (it was not made by tw)"),
    ("a list", b"[]", "is an age file, but no bundle is in it (make one: tw user export)"),
    ("another format", b'{"format": "x"}', "is an age file, but no bundle is in it (make one: tw user export)"),
    (
        "another version",
        b'{"format": "tunnel-whisperer-bundle", "version": 2, "surprise": true}',
        f"is a bundle of version 2; this tw reads 1 ({VERSIONS})",
    ),
    (
        "no version",
        b'{"format": "tunnel-whisperer-bundle"}',
        f"is a bundle of version nothing; this tw reads 1 ({VERSIONS})",
    ),
]


@pytest.mark.parametrize(("content", "complaint"), [case[1:] for case in NOT_OURS], ids=[case[0] for case in NOT_OURS])
def test_an_age_file_with_something_else_in_it(content: bytes, complaint: str) -> None:
    assert refusal(to_keys(content)) == complaint


def weak() -> str:
    return real_lines()["ssh-ed25519"][:40]


def other_curve() -> str:
    key = ec.generate_private_key(ec.SECP384R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def leaf() -> str:
    return pki.pem(pki.read_certificates(sound().tls_chain)[0])


NO_KEYS = "server_host_keys: is empty; without one the server cannot be told from another"
LABEL = "is no lower-case DNS label (a-z, 0-9 and inner hyphens)"
HOST = "accepted: a host name or an IP address"
PORT = "accepted: a whole number from 1 to 65535"
MOMENT = "accepted: one in UTC, such as 2026-01-31T12:00:00+00:00"
HOSTILE: list[tuple[str, object, str]] = [
    ("kind", "admin", 'kind: unknown kind "admin" (known: enrolment, identity)'),
    ("kind", ["identity"], "kind: unknown kind ['identity'] (did you mean \"identity\"? known: enrolment, identity)"),
    ("kind", "enrolment", "until: is missing; a bundle for enrolment ends some day"),
    ("context", "../../etc", f"context: no name for a context: '../../etc' {LABEL}"),
    ("context", "serve", 'context: "serve" is reserved'),
    ("context", "-rf", f"context: no name for a context: '-rf' {LABEL}"),
    ("context", "a\nb", f"context: no name for a context: 'a\\nb' {LABEL}"),
    ("context", "x" * 10_000, "xxx' has 10000 characters; at most 32 are accepted"),
    ("tenant", "operator", "tenant: no name for a tenant: 'operator' is reserved"),
    ("tenant", "\u0430cme", f"tenant: no name for a tenant: '\\u0430cme' {LABEL}"),
    ("user", "server", "user: no name for a user: 'server' is reserved"),
    ("user", "al ice", f"user: no name for a user: 'al ice' {LABEL}"),
    ("user", 'a"b', f"user: no name for a user: 'a\"b' {LABEL}"),
    ("user", 7, "user: 7 is no name; accepted: a text (put it in quotes)"),
    ("made", "yesterday", f'made: "yesterday" is no moment; {MOMENT}'),
    ("made", "2026-01-01T00:00:00", f'made: "2026-01-01T00:00:00" is no moment; {MOMENT}'),
    ("until", 5, f"until: 5 is no moment; {MOMENT}"),
    ("relay", None, "relay: nothing is no mapping"),
    ("relay.host", "a b", f'relay.host: "a b" is no host; {HOST}'),
    ("relay.host", "relay.example.com:443", f'relay.host: "relay.example.com:443" is no host; {HOST}'),
    ("relay.port", 65536, f"relay.port: 65536 is no port; {PORT}"),
    ("relay.profile", "h3", 'relay.profile: unknown profile "h3" (known: h1, h2)'),
    ("relay.links", 9, "relay.links: 9 is not accepted; accepted: a whole number from 1 to 8"),
    ("relay.links", True, "relay.links: True is not accepted; accepted: a whole number from 1 to 8"),
    ("relay.roots", "x", "relay.roots: holds no certificates in PEM form"),
    ("relay.command", "x", "relay.command: unknown key (known: host, links, port, profile, roots)"),
    ("server_host_keys", [], NO_KEYS),
    ("server_host_keys", "x", f'server_host_keys: "x" is no list; {NO_KEYS}'),
    ("server_host_keys.0", weak(), "server_host_keys[0]: is cut short"),
    ("server_host_keys", ["x"] * 1001, "server_host_keys: has 1001 items; at most 1000 are accepted"),
    ("bridges", [], "bridges: is empty; accepted: a list with at least one bridge"),
    ("bridges.0", "x", 'bridges[0]: "x" is no mapping'),
    ("bridges.0.name", "../x", f"bridges[0].name: no name for a bridge: '../x' {LABEL}"),
    ("bridges.0.name", None, "bridges[0].name: is missing"),
    ("bridges.1.name", "postgres", 'bridges[1].name: "postgres" is the name of another bridge too'),
    ("bridges.0.host", "$(id)", f'bridges[0].host: "$(id)" is no host; {HOST}'),
    ("bridges.0.port", 0, f"bridges[0].port: 0 is no port; {PORT}"),
    ("bridges.1.local_port", 5432, 'bridges[1].local_port: 5432 is taken by bridge "postgres"'),
    ("bridges.0.listen", "0.0.0.0", "bridges[0].listen: unknown key (known: host, local_port, name, port)"),
    ("uuid", "x", "uuid: holds no UUID"),
    ("uuid", 7, "uuid: is no text"),
    ("tls_key", "x", "tls_key: is no private key"),
    ("tls_key", other_curve(), "tls_key: is no private key on P-256"),
    ("tls_key", pki.encode_key(pki.make_key()).decode(), "tls_chain: is for another key than tls_key"),
    ("tls_chain", sound().tls_key, "tls_chain: holds a private key; only certificates are wanted"),
    ("tls_chain", "", "tls_chain: holds no certificates in PEM form"),
    ("tls_chain", leaf(), "tls_chain: holds 1 certificate; the leaf and the tenant's intermediate are wanted"),
    ("ssh_key", sound().tls_key, "ssh_key: is no private SSH key, or an encrypted one"),
    ("ssh_key", "x", "ssh_key: is no private SSH key, or an encrypted one"),
    ("ssh_key", ..., "ssh_key: is missing"),
    ("__proto__", 1, "bundle.__proto__: unknown key (known: bridges, context, format, kind, made, relay, "),
]


@pytest.mark.parametrize(
    ("path", "value", "complaint"), HOSTILE, ids=[f"{case[0]}-{i}" for i, case in enumerate(HOSTILE)]
)
def test_each_wrong_field_is_named(path: str, value: object, complaint: str) -> None:
    content = json.dumps(changed(document(), path, value)).encode()
    text = refusal(to_keys(content))
    assert complaint in text
    assert text.endswith(" (nothing was set up; let whoever made it make another)")


def test_everything_wrong_is_told_at_once() -> None:
    broken = changed(changed(document(), "user", "Alice"), "bridges.0.port", 0) | {"uuid": None}
    with pytest.raises(InvalidInputError) as caught:
        opened(to_keys(json.dumps(broken).encode()))
    assert [problem.partition(":")[0] for problem in caught.value.problems] == ["bridges[0].port", "user", "uuid"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(key=st.sampled_from([*document(), "relay.host", "relay.roots", "bridges.0.name", "bridges.1"]), value=JSON)
def test_no_value_ends_in_anything_but_a_bundle_or_a_refusal(key: str, value: object) -> None:
    content = json.dumps(changed(document(), key, value)).encode()
    try:
        found = read(content, where=FILE)
    except ConfigError as error:
        told = str(error)
    else:
        told = FILE
        assert read(write(found), where=FILE) == found
    assert told.startswith(FILE)


def test_what_could_not_be_imported_is_not_sealed() -> None:
    with pytest.raises(InvalidInputError, match="user: no name for a user"):
        seal(replace(sound(), user="Alice"), recipients=[keys()[1]])
    with pytest.raises(InvalidInputError, match="is for another key than tls_key"):
        seal(replace(sound(), tls_chain=chain(pki.make_key().public_key())), recipients=[keys()[1]])
