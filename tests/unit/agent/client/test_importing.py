"""Bundles become contexts: by themselves, or through an exchange that gives lasting credentials."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from tests.unit.agent.bundle.samples import POSTGRES, UUID, WEB, chain, for_enrolment, sound
from tests.unit.agent.client.stage import Stage, another
from tunnel_whisperer import identity, pki, ports
from tunnel_whisperer.bundle import Bundle, read, write
from tunnel_whisperer.config import Bridge, ConnectConfig, RelayConfig, load_connect
from tunnel_whisperer.errors import ConfigError, FatalError, RetryableError, TwError
from tunnel_whisperer.files import Change, Transaction
from tunnel_whisperer.identity import Identity
from tunnel_whisperer.importing import bring_in
from tunnel_whisperer.places import Context, Place
from tunnel_whisperer.provision import bundles, contexts

NOW = datetime.now(UTC)
NEW_UUID = "0a4d6d3c-7f5e-4b55-8a7a-36ea0b5ac111"


@dataclass
class Answer:
    """What a server says when it enrols somebody."""

    uuid: str
    certificate: str
    bridges: tuple[Bridge, ...]


@dataclass
class Server:
    """Stands in for the exchange; keeps what it was shown, and the folder that the credentials were in."""

    fails: BaseException | None = None
    forgets_chain: bool = False
    shown: list[str] = field(default_factory=list)
    folder: Path = Path()
    config: ConnectConfig | None = None

    async def __call__(self, config: ConnectConfig, *, ssh_public_key: str, csr: str) -> Answer:
        self.config, self.folder = config, config.identity_dir
        self.shown = [ssh_public_key, csr]
        mine = Identity(config.identity_dir)
        mine.check_tls()
        mine.ssh_key()
        assert mine.uuid() == UUID
        assert stat.S_IMODE(self.folder.stat().st_mode) == 0o700
        assert {stat.S_IMODE(path.stat().st_mode) for path in self.folder.iterdir()} == {0o600}
        if self.fails:
            raise self.fails
        certificate = chain(pki.read_csr(csr))
        if self.forgets_chain:
            certificate = chain(pki.make_key().public_key())
        return Answer(NEW_UUID, certificate, (POSTGRES,))


def bring(
    bundle: Bundle,
    place: Place,
    name: str = "acme",
    *,
    server: Server | None = None,
    replace_it: bool = False,
    pretend: bool = False,
    xray: Path = Path("/bin/sh"),
) -> tuple[Bundle, Sequence[Change]]:
    return bring_in(
        bundle,
        place,
        name,
        where="alice.age",
        now=NOW,
        xray=xray,
        exchange=server or Server(),
        replace_it=replace_it,
        pretend=pretend,
    )


def modes(folder: Path) -> dict[str, str]:
    return {path.name: f"{stat.S_IMODE(path.stat().st_mode):o}" for path in sorted(folder.iterdir())}


def test_a_person_gets_a_context_that_only_they_can_read(stage: Stage) -> None:
    bring(sound(), stage.own)
    home = stage.own.contexts / "acme"
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert stat.S_IMODE(stage.own.contexts.stat().st_mode) == 0o700
    assert modes(home) == {
        "connect.yml": "600",
        "id_ed25519": "600",
        "id_ed25519.pub": "644",
        "origin": "644",
        "relay_roots.pem": "644",
        "tls.crt": "644",
        "tls.key": "600",
        "vless_uuid": "600",
    }
    config = load_connect(home / "connect.yml")
    assert (config.context, config.tenant, config.user) == ("acme", "acme", "alice")
    assert config.bridges == (POSTGRES, WEB)
    assert config.relay == RelayConfig("relay.example.com", 443, "h2", home / "relay_roots.pem", 2)
    assert config.xray == Path("/bin/sh")
    mine = Identity(home)
    mine.check_tls()
    assert mine.uuid() == UUID
    assert (home / "id_ed25519").read_text() == sound().ssh_key
    assert (home / "origin").read_text() == "bundle\n"


def test_the_system_gets_one_that_the_daemon_can_read_where_it_has_a_group(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundles, "GROUP", "nobody-has-this-group")
    bring(sound(), stage.system, "one")
    assert modes(stage.system.contexts)["one"] == "700"
    assert modes(stage.system.contexts / "one")["tls.key"] == "600"
    monkeypatch.setattr(bundles.grp, "getgrnam", lambda _name: type("Group", (), {"gr_gid": os.getegid()}))
    bring(sound(), stage.system, "two")
    assert modes(stage.system.contexts)["two"] == "750"
    assert modes(stage.system.contexts / "two")["tls.key"] == "640"
    assert modes(stage.system.contexts / "two")["connect.yml"] == "640"


def test_what_is_exported_is_what_was_imported(stage: Stage) -> None:
    bring(sound(), stage.own)
    made = bundles.export(Context("acme", stage.own), now=sound().made)
    assert read(write(made), where="x") == sound()


def test_a_context_is_replaced_only_when_told_to_and_keeps_its_local_ports(stage: Stage) -> None:
    bring(sound(), stage.own)
    home = stage.own.contexts / "acme"
    (home / "ports.yml").write_bytes(ports.write({"postgres": ports.LocalEnd(1)}))
    before = stage.files()
    other = another(uuid=NEW_UUID, bridges=(POSTGRES,), relay=replace(sound().relay, roots=None))
    with pytest.raises(ConfigError) as caught:
        bring(other, stage.own)
    assert str(caught.value) == (
        f"contexts.acme: {home} is there already; replace it, or name this context otherwise "
        "(nothing was changed; --as NAME names it otherwise, --replace replaces it)"
    )
    assert stage.files() == before
    bring(other, stage.own, replace_it=True)
    assert Identity(home).uuid() == NEW_UUID
    assert not (home / "relay_roots.pem").exists()
    assert [ports.place_of(bridge) for bridge in load_connect(home / "connect.yml").bridges] == ["127.0.0.1:1"]


@pytest.mark.parametrize("origin", ["inventory", "something"])
def test_a_context_of_others_is_never_replaced(stage: Stage, origin: str) -> None:
    stage.context("acme", stage.system, origin=origin)
    before = stage.files()
    with pytest.raises(ConfigError, match=f'is of origin "{origin}"; remove it, or name this context otherwise'):
        bring(another(uuid=NEW_UUID), stage.system, replace_it=True)
    assert stage.files() == before


def test_a_module_that_comes_later_leaves_it_alone_and_tells_of_it(stage: Stage) -> None:
    bring(sound(), stage.system, "mine")
    before = stage.files()
    with Transaction() as transaction:
        outcome = contexts.provision_contexts(
            transaction, stage.system.contexts, {}, now=NOW, origin="inventory", purge=True
        )
        transaction.commit()
    assert (outcome.purged, outcome.others) == ((), ("mine",))
    assert stage.files() == before


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("../x", 'contexts["../x"]: no name for a context'),
        ("serve", "contexts.serve: is reserved"),
        ("x" * 33, "has 33 characters; at most 32 are accepted"),
    ],
)
def test_a_name_that_will_not_do(stage: Stage, name: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        bring(sound(), stage.own, name)
    assert complaint in str(caught.value)
    assert stage.files() == {}


def test_a_certificate_that_has_expired_or_is_anothers_is_refused(stage: Stage) -> None:
    key = pki.load_key(sound().tls_key.encode()).public_key()
    old = another(tls_chain=chain(key, at=NOW - timedelta(days=91)))
    with pytest.raises(ConfigError, match=r"contexts\.acme\.certificate: it has expired"):
        bring(old, stage.own)
    with pytest.raises(ConfigError, match=r"certificate: it is not for alice\.acme\.tw\.internal"):
        bring(another(tls_chain=chain(key, "bob")), stage.own)
    assert stage.files() == {}


def test_a_bundle_whose_time_is_over_is_refused_and_a_clock_ten_minutes_early_does_no_harm(stage: Stage) -> None:
    over = another(until=NOW - timedelta(minutes=11))
    with pytest.raises(ConfigError) as caught:
        bring(over, stage.own)
    assert str(caught.value) == (
        f"alice.age: was good until {over.until:%Y-%m-%d %H:%M} UTC "
        f"(this clock says {NOW:%Y-%m-%d %H:%M} UTC; if that is right, ask for a new one)"
    )
    bring(another(until=NOW - timedelta(minutes=9)), stage.own)


def test_a_dry_run_changes_nothing_and_tells_what_would_be(stage: Stage) -> None:
    _, changes = bring(sound(), stage.own, pretend=True)
    assert stage.own.contexts / "acme/connect.yml" in [change.path for change in changes]
    assert all("PRIVATE KEY" not in change.before + change.after for change in changes)
    server = Server()
    bring(for_enrolment(), stage.own, pretend=True, server=server)
    assert server.shown == []
    assert stage.files() == {}


def test_enrolment_makes_lasting_keys_here_and_leaves_nothing_of_the_short_lived_ones(stage: Stage) -> None:
    server = Server()
    installed, _ = bring(for_enrolment(), stage.own, server=server)
    home = stage.own.contexts / "acme"
    assert server.config is not None
    assert server.config.bridges == ()
    assert server.config.server_host_keys == sound().server_host_keys
    assert server.folder.parent == stage.own.run
    assert not server.folder.exists()
    mine = Identity(home)
    mine.check_tls()
    assert (mine.uuid(), installed.kind) == (NEW_UUID, "identity")
    assert (home / "id_ed25519.pub").read_text() == f"{server.shown[0]}\n"
    assert mine.tls_certificates()[0].public_key() == x509.load_pem_x509_csr(server.shown[1].encode()).public_key()
    assert load_connect(home / "connect.yml").bridges == (POSTGRES,)
    kept = b"".join(stage.files().values()).decode()
    for secret in (for_enrolment().ssh_key, for_enrolment().tls_key, UUID):
        assert secret not in kept


def test_each_enrolment_makes_other_keys(stage: Stage) -> None:
    first, second = Server(), Server()
    bring(for_enrolment(), stage.own, "one", server=first)
    bring(for_enrolment(), stage.own, "two", server=second)
    assert first.shown[0] != second.shown[0]


AGAIN = "try the file again until {until}, and ask for a new one if it is refused then"
FAILURES = [
    (RetryableError("no link answers"), RetryableError, "not enrolled: no link answers", AGAIN, 1),
    (
        FatalError("this was used already"),
        FatalError,
        "not enrolled: this was used already",
        "and the file cannot be used again: ask for a new one",
        1,
    ),
    (KeyboardInterrupt(), RetryableError, "not enrolled: interrupted", AGAIN, 130),
    (asyncio.CancelledError(), RetryableError, "not enrolled: interrupted", AGAIN, 130),
]


@pytest.mark.parametrize(("failure", "kind", "words", "advice", "code"), FAILURES)
def test_an_exchange_that_fails_leaves_nothing_and_says_whether_to_try_again(
    stage: Stage, failure: BaseException, kind: type[TwError], words: str, advice: str, code: int
) -> None:
    server, bundle = Server(fails=failure), for_enrolment()
    with pytest.raises(kind) as caught:
        bring(bundle, stage.own, server=server)
    advice = advice.format(until=f"{bundle.until:%Y-%m-%d %H:%M} UTC")
    assert str(caught.value) == f"alice.age: {words} (nothing was set up{';' if advice[0] == 't' else ','} {advice})"
    assert caught.value.exit_code == code
    assert server.folder != Path()
    assert not server.folder.exists()
    assert stage.files() == {}
    assert list(stage.own.run.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_in_the_middle_of_an_exchange_leaves_nothing(stage: Stage, number: signal.Signals) -> None:
    folders = []

    async def never(config: ConnectConfig, *, ssh_public_key: str, csr: str) -> Answer:
        folders.append(config.identity_dir)
        os.kill(os.getpid(), number)
        await asyncio.get_running_loop().create_future()
        raise AssertionError

    with pytest.raises(RetryableError, match="not enrolled: interrupted"):
        bring_in(for_enrolment(), stage.own, "acme", where="f", now=NOW, xray=Path("/bin/sh"), exchange=never)
    assert not folders[0].exists()
    assert stage.files() == {}


def test_what_goes_wrong_after_the_exchange_says_that_the_file_is_used_up(stage: Stage) -> None:
    with pytest.raises(FatalError) as caught:
        bring(for_enrolment(), stage.own, server=Server(forgets_chain=True))
    assert "alice.age: enrolled, but not set up: the server's answer: tls_chain: is for another key" in str(
        caught.value
    )
    assert "the file cannot be used again: ask for a new one)" in str(caught.value)
    assert stage.files() == {}


def test_nothing_is_exchanged_for_what_could_not_be_set_up(stage: Stage) -> None:
    server = Server()
    stage.context("acme", stage.own)
    with pytest.raises(ConfigError, match="is there already"):
        bring(for_enrolment(), stage.own, server=server)
    with pytest.raises(ConfigError, match="was good until"):
        bring(for_enrolment(good_for=timedelta(days=-1)), stage.own, "two", server=server)
    with pytest.raises(ConfigError, match=r"^/nowhere/xray: there is no Xray here"):
        bring(for_enrolment(), stage.own, "two", server=server, xray=Path("/nowhere/xray"))
    assert server.shown == []


def test_xray_is_taken_from_its_usual_place_else_from_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = tmp_path / "usual"
    monkeypatch.setattr(bundles, "DEFAULT_XRAY", usual)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert bundles.find_xray() == usual
    other = tmp_path / "xray"
    other.touch(mode=0o755)
    assert bundles.find_xray() == other
    usual.touch()
    assert bundles.find_xray() == usual


def test_a_context_that_misses_a_file_is_not_exported(stage: Stage) -> None:
    context = stage.context("acme", stage.own)
    (context.directory / identity.SSH_KEY).unlink()
    with pytest.raises(ConfigError, match="id_ed25519: cannot be read"):
        bundles.export(context, now=NOW)
    (context.directory / identity.SSH_KEY).write_bytes(b"\xff")
    (context.directory / identity.SSH_KEY).chmod(0o600)
    with pytest.raises(ConfigError, match="id_ed25519: is not in PEM form"):
        bundles.export(context, now=NOW)
