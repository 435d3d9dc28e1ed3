"""Which of our certificates is in use, and how much of its life is left."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.agent.certificate.chains import INTERMEDIATE, KEY, NAME, NOW, ROOT, chain
from tunnel_whisperer import pki
from tunnel_whisperer.errors import ConfigError
from tunnel_whisperer.identity import Identity
from tunnel_whisperer.tls_chain import Chain, Life, check, find, youngest


@pytest.fixture
def own(tmp_path: Path) -> Identity:
    made = Identity(tmp_path / "identity", tmp_path / "state")
    for directory in (made.directory, tmp_path / "state"):
        directory.mkdir()
    made.tls_key.touch(mode=0o600)
    made.tls_key.write_bytes(pki.encode_key(KEY))
    made.tls_chain.write_text(chain(60).pem)
    return made


def renewed(own: Identity) -> Path:
    assert own.state_dir is not None
    return own.state_dir / "tls.crt"


def test_the_configured_one_is_in_use_while_there_is_no_other(own: Identity) -> None:
    assert find(own, NOW).path == own.tls_chain
    assert find(Identity(own.directory), NOW).path == own.tls_chain


def test_the_renewed_one_counts_and_then_a_newer_one_from_outside(own: Identity) -> None:
    renewed(own).write_text(chain(10).pem)
    assert find(own, NOW).path == renewed(own)
    own.tls_chain.write_text(chain(2).pem)
    assert find(own, NOW).path == own.tls_chain


@pytest.mark.parametrize("age", [0, 30])
def test_one_for_a_former_key_is_left_aside(own: Identity, age: float) -> None:
    renewed(own).write_text(chain(age, key=pki.make_key()).pem)
    assert find(own, NOW).path == own.tls_chain


def test_one_that_has_ended_is_left_aside_while_another_serves(own: Identity) -> None:
    renewed(own).write_text(chain(5, days=1).pem)
    assert find(own, NOW).path == own.tls_chain
    own.tls_chain.write_text(chain(100).pem)
    renewed(own).write_text(chain(50).pem)
    assert find(own, NOW).path == renewed(own)


@pytest.mark.parametrize("content", [b"", b"\xff\x00", b"rubbish", b"-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_a_damaged_one_in_the_state_directory_does_no_harm(own: Identity, content: bytes) -> None:
    renewed(own).write_bytes(content)
    assert find(own, NOW).path == own.tls_chain


def test_a_new_key_with_a_certificate_yet_to_come_is_told(own: Identity) -> None:
    own.tls_key.write_bytes(pki.encode_key(pki.make_key()))
    with pytest.raises(ConfigError, match=r"tls.key: does not belong to the certificate in tls.crt"):
        find(own, NOW)
    own.tls_key.write_text("rubbish")
    with pytest.raises(ConfigError, match=r"tls.key: holds no usable private key"):
        find(own, NOW)


@given(st.lists(st.tuples(st.integers(0, 200), st.integers(1, 100)), min_size=1, max_size=4))
def test_the_youngest_that_serves_is_taken(made: list[tuple[int, int]]) -> None:
    chains = [chain(age, days=days) for age, days in made]
    taken = youngest(chains, NOW)
    serving = [one for one in chains if not one.life.over(NOW)]
    if serving:
        assert taken in serving
        assert all(one.life.begins <= taken.life.begins for one in serving)
    else:
        assert all(one.life.ends <= taken.life.ends for one in chains)


def test_a_life_at_its_seams() -> None:
    life = Life(NOW, NOW + timedelta(days=100))
    assert not life.low(NOW + timedelta(days=75))
    assert life.low(NOW + timedelta(days=75, seconds=1))
    assert not life.over(life.ends + timedelta(minutes=10, seconds=-1)), "our clock may be early"
    assert life.over(life.ends + timedelta(minutes=10))
    assert life.status(NOW + timedelta(days=80)) == {
        "since": "2026-06-01T00:00:00Z",
        "until": "2026-09-09T00:00:00Z",
        "days_left": 20.0,
        "state": "low",
    }
    assert life.status(NOW)["state"] == "good"
    assert life.status(NOW + timedelta(days=101))["state"] == "ended"
    assert life.ended() == (
        "our certificate ended on 2026-09-09; enrol anew: ask the operator for a new bundle, or run site.yml for a "
        "managed host"
    )


def test_what_a_server_certified_is_looked_at() -> None:
    def looked_at(text: object, *, key: pki.TlsKey = KEY, now: datetime = NOW) -> Chain:
        return check(text, Path("tls.crt"), key.public_key(), NAME, now)

    good = chain(0)
    assert looked_at(good.pem).certificates == good.certificates
    assert looked_at(chain(60).pem), "older than half of its life, but it serves"
    cases: list[tuple[object, dict[str, object], str]] = [
        (None, {}, "is no text"),
        ("", {}, "no certificates in PEM form"),
        (good.pem + pki.encode_key(KEY).decode(), {}, "holds a private key"),
        (pki.pem(good.leaf), {}, "without the authority's own certificate"),
        (pki.pem(good.leaf, ROOT.certificate), {}, "of another authority"),
        (pki.pem(INTERMEDIATE, good.leaf), {}, "for another key"),
        (good.pem, {"key": pki.make_key()}, "for another key"),
        (chain(0, name="bob.acme.tw.internal").pem, {}, "not for alice.acme.tw.internal"),
        (chain(100).pem, {}, "has expired"),
        (good.pem, {"now": NOW - timedelta(hours=2)}, "not valid yet"),
    ]
    for text, changed, words in cases:
        with pytest.raises(ValueError, match=words):
            looked_at(text, **changed)  # type: ignore[arg-type]  # a test's shorthand for its arguments
