"""The file in which Xray finds our certificate follows whichever is in use, and is always whole."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.unit.agent.certificate.chains import KEY, NOW, chain
from tunnel_whisperer import pki
from tunnel_whisperer.carrier.certificate import CertificateFile
from tunnel_whisperer.errors import ConfigError
from tunnel_whisperer.identity import Identity


class Stage:
    """An identity with a certificate 60 days old, and a runtime directory."""

    def __init__(self, root: Path) -> None:
        self.own = Identity(root / "identity", root / "state")
        self.now: datetime = NOW
        for name in ("identity", "state", "run"):
            (root / name).mkdir()
        self.own.tls_key.touch(mode=0o600)
        self.own.tls_key.write_bytes(pki.encode_key(KEY))
        self.own.tls_chain.write_text(chain(60).pem)
        self.renewed = root / "state" / "tls.crt"
        self.file = CertificateFile(self.own, root / "run", lambda: self.now)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def test_it_follows_what_is_renewed_and_what_is_brought(stage: Stage) -> None:
    stage.file.begin()
    assert stage.file.path.read_text() == stage.own.tls_chain.read_text()
    assert stage.file.path.stat().st_mode & 0o777 == 0o600
    first = stage.file.path.stat().st_ino
    stage.file.follow()
    assert stage.file.path.stat().st_ino == first, "nothing changed, so nothing is written"
    for path, age in ((stage.renewed, 10), (stage.own.tls_chain, 1)):
        before = stage.file.path.read_text()
        with stage.file.path.open() as held:
            path.write_text(chain(age).pem)
            stage.file.follow()
            assert held.read() == before, "replaced, not written into"
        assert stage.file.path.read_text() == path.read_text()
        assert stage.file.chain is not None
        assert stage.file.chain.path == path
    assert [path.name for path in stage.file.path.parent.iterdir()] == ["tls.crt"]


def test_it_stays_while_what_is_there_cannot_be_used(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    stage.file.begin()
    good = stage.file.path.read_text()
    stage.own.tls_chain.write_text("half a certifi")
    with caplog.at_level(logging.WARNING):
        stage.file.follow()
        stage.file.follow()
    assert len(caplog.messages) == 1
    assert stage.file.path.read_text() == good
    stage.own.tls_chain.write_text(chain(2).pem)
    stage.file.follow()
    assert stage.file.path.read_text() == stage.own.tls_chain.read_text()


def test_one_that_ended_is_told_by_the_clock_and_replaced_by_a_file(stage: Stage) -> None:
    stage.file.begin()
    assert not stage.file.over
    stage.now += timedelta(days=31)
    assert stage.file.over
    stage.file.follow()
    assert stage.file.over
    stage.renewed.write_text(chain(-30).pem)
    stage.file.follow()
    assert not stage.file.over


def test_it_cannot_begin_without_a_certificate_for_the_key(stage: Stage) -> None:
    stage.own.tls_key.write_bytes(pki.encode_key(pki.make_key()))
    with pytest.raises(ConfigError, match="does not belong to the certificate"):
        stage.file.begin()
