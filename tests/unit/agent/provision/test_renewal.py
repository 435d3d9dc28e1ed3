"""Certificates asked for while the server runs: renewals, enrolments, the server's own."""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.agent.provision.servers import ALICE, BOB, FRESH, START, Server, csr, enrolling, user
from tests.unit.agent.users import samples
from tunnel_whisperer import pki, tls_chain
from tunnel_whisperer.errors import ConfigError, NotGrantedError
from tunnel_whisperer.provision.renewal import Credentials, Signer, plan_enrolment, plan_renewal
from tunnel_whisperer.users.model import UserSet

HALF = timedelta(days=46)


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server(tmp_path, user("alice", ALICE), enrolling("bob", BOB))


def leaf(chain: str) -> x509.Certificate:
    return pki.read_certificates(chain)[0]


def test_a_certificate_is_renewed_when_half_of_its_life_is_over(server: Server) -> None:
    key = pki.make_key()
    first = server.renew("alice", ALICE, csr(key))
    assert first.startswith(server.users["alice"].certificate)
    assert len(pki.read_certificates(first)) == 2, "with the intermediate behind it"
    server.now += HALF - timedelta(days=2)
    assert server.renew("alice", ALICE, csr(key)) == first, "it still serves"
    generation = server.users.generation
    server.now += timedelta(days=2)
    second = server.renew("alice", ALICE, csr(key))
    assert leaf(second).not_valid_after_utc == server.now + timedelta(days=90)
    assert server.users["alice"].certificate in second
    assert server.users.generation == generation + 1
    assert server.users["alice"] == replace(user("alice", ALICE), certificate=server.users["alice"].certificate)
    assert server.users["bob"] == enrolling("bob", BOB), "nobody else changes"


def test_a_new_key_is_certified_at_once_but_not_one_after_the_other(server: Server) -> None:
    server.renew("alice", ALICE, csr(pki.make_key()))
    with pytest.raises(NotGrantedError, match="a moment ago") as caught:
        server.renew("alice", ALICE, csr(pki.make_key()))
    assert caught.value.retry
    server.now += timedelta(minutes=2)
    other = pki.make_key()
    assert leaf(server.renew("alice", ALICE, csr(other))).public_key() == other.public_key()


def test_the_name_is_the_users_whatever_the_request_says(server: Server) -> None:
    chain = server.renew("alice", ALICE, csr(pki.make_key(), "server"))
    names = leaf(chain).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["alice.acme.tw.internal"]
    assert "server" not in leaf(chain).subject.rfc4514_string()


def rsa_request() -> str:
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return request.sign(rsa.generate_private_key(65537, 2048), hashes.SHA256()).public_bytes(Encoding.PEM).decode()


def forged_request() -> str:
    """A request whose signature is another's: no proof that anybody has the key."""
    lines = csr(pki.make_key()).splitlines()
    lines[-2] = lines[-2][:-6] + ("AAAA" if lines[-2][-6:-2] != "AAAA" else "BBBB") + lines[-2][-2:]
    return "\n".join(lines)


BAD_REQUESTS = [
    ("", "no certificate request"),
    ("rubbish\nof two lines", "no certificate request"),
    (pki.encode_key(pki.make_key()).decode(), "is a private key"),
    (rsa_request(), "a key of another kind"),
    (csr(pki.make_key()) + "\n" + pki.encode_key(pki.make_key()).decode(), "is a private key"),
    (
        "-----BEGIN CERTIFICATE REQUEST-----\n" + "A" * 60_000 + "\n-----END CERTIFICATE REQUEST-----\n",
        "no certificate",
    ),
]


@pytest.mark.parametrize(("request_text", "words"), BAD_REQUESTS)
def test_what_is_no_request_of_ours_is_refused_and_changes_nothing(
    server: Server, request_text: str, words: str
) -> None:
    before = server.place.users_file.read_bytes()
    with pytest.raises(NotGrantedError, match=words):
        server.renew("alice", ALICE, request_text)
    with pytest.raises(NotGrantedError, match=words):
        server.enrol("bob", Credentials(BOB, str(FRESH), request_text))
    assert server.place.users_file.read_bytes() == before


def test_a_request_that_proves_nothing_is_refused(server: Server) -> None:
    with pytest.raises(NotGrantedError, match=r"not signed by the key it names|no certificate request"):
        server.renew("alice", ALICE, forged_request())


def test_who_is_gone_or_has_another_key_by_now_gets_nothing(server: Server) -> None:
    request = csr(pki.make_key())
    for name, key in (("carol", ALICE), ("alice", BOB)):
        with pytest.raises(NotGrantedError, match="no user any more, or has other credentials by now"):
            server.renew(name, key, request)
        with pytest.raises(NotGrantedError, match="no user any more, or has other credentials by now"):
            server.enrol(name, Credentials(key, str(FRESH), request))


def test_one_enrols_once_and_has_another_key_another_uuid_and_a_lasting_certificate(server: Server) -> None:
    key = pki.make_key()
    enrolled = server.enrol("bob", Credentials(BOB, str(FRESH), csr(key)))
    bob = server.users["bob"]
    assert (bob.public_key, bob.uuid, bob.enrolment) == (str(FRESH), enrolled.uuid, None)
    assert bob.uuid != "uuid-of-bob"
    assert bob.targets == enrolling("bob", BOB).targets
    assert [bridge.port for bridge in enrolled.bridges] == [5432]
    assert leaf(enrolled.chain).public_key() == key.public_key()
    assert leaf(enrolled.chain).not_valid_after_utc == START + timedelta(days=90)
    assert server.users["alice"] == user("alice", ALICE)
    for shown in (Credentials(BOB, str(samples.key(9)), csr(key)), Credentials(FRESH, str(samples.key(9)), csr(key))):
        with pytest.raises(NotGrantedError, match=r"other credentials by now|does not have to enrol"):
            server.enrol("bob", shown)
    assert server.users["bob"] == bob


def test_of_two_that_enrol_at_once_one_wins(server: Server) -> None:
    def attempt(number: int) -> str | None:
        try:
            return server.enrol("bob", Credentials(BOB, str(samples.key(10 + number)), csr(pki.make_key()))).uuid
        except NotGrantedError:
            return None

    with ThreadPoolExecutor(8) as pool:
        won = [uuid for uuid in pool.map(attempt, range(8)) if uuid]
    assert won == [server.users["bob"].uuid]


@pytest.mark.parametrize(
    ("name", "shown", "words"),
    [
        ("alice", Credentials(ALICE, str(FRESH), csr(pki.make_key())), "alice does not have to enrol"),
        ("bob", Credentials(BOB, str(BOB), csr(pki.make_key())), "the one that was given to enrol with"),
        ("bob", Credentials(BOB, str(ALICE), csr(pki.make_key())), "the key of another user$"),
        ("bob", Credentials(BOB, f"{FRESH}\n{samples.key(4)}", csr(pki.make_key())), "has several lines"),
        ("bob", Credentials(BOB, f'command="sh" {FRESH}', csr(pki.make_key())), "begins with options"),
        ("bob", Credentials(BOB, samples.private_text(), csr(pki.make_key())), "is a private key"),
        ("bob", Credentials(BOB, samples.weak_rsa_line(), csr(pki.make_key())), "RSA key of 1024 bits"),
        ("bob", Credentials(BOB, samples.dsa_line(), csr(pki.make_key())), "DSA"),
        ("bob", Credentials(BOB, "", csr(pki.make_key())), "is empty"),
        ("bob", Credentials(BOB, None, csr(pki.make_key())), "is no text"),
        ("bob", Credentials(BOB, "ssh-ed25519 " + "A" * 60_000, csr(pki.make_key())), "no public key is that long"),
    ],
)
def test_an_enrolment_that_cannot_be_is_refused_and_changes_nothing(
    server: Server, name: str, shown: Credentials, words: str
) -> None:
    before = server.place.users_file.read_bytes()
    with pytest.raises(NotGrantedError, match=words):
        server.enrol(name, shown)
    assert server.place.users_file.read_bytes() == before


def test_a_comment_behind_the_key_gets_nowhere(server: Server) -> None:
    server.enrol("bob", Credentials(BOB, f"{FRESH} mallory@umbrella", csr(pki.make_key())))
    assert server.users["bob"].authorized_key.endswith(" bob@acme")


def test_an_enrolment_runs_out_by_the_servers_clock(server: Server) -> None:
    shown = Credentials(BOB, str(FRESH), csr(pki.make_key()))
    server.now = START + timedelta(hours=1)
    with pytest.raises(NotGrantedError, match="ran out on 2026-03-01T13:00:00Z"):
        server.enrol("bob", shown)
    server.now -= timedelta(seconds=1)
    server.enrol("bob", shown)


def test_who_has_to_enrol_gets_no_renewal(server: Server) -> None:
    with pytest.raises(NotGrantedError, match="bob has to enrol first"):
        server.renew("bob", BOB, csr(pki.make_key()))


def test_an_authority_near_its_end_is_not_asked_for_ever_shorter_certificates(server: Server) -> None:
    server.now += timedelta(days=10 * 365 - 60)
    key = pki.make_key()
    first = server.renew("alice", ALICE, csr(key))
    end = server.signer.authority.certificate.not_valid_after_utc
    assert leaf(first).not_valid_after_utc == end
    server.now += timedelta(days=45)
    assert server.renew("alice", ALICE, csr(key)) == first
    server.now = end
    with pytest.raises(ConfigError, match="valid from"):
        server.renew("alice", ALICE, csr(key))


def test_without_a_signed_authority_nothing_is_certified(server: Server) -> None:
    (server.place.identity_dir / "ca.crt").unlink()
    with pytest.raises(ConfigError, match="holds no signed authority"):
        server.renew("alice", ALICE, csr(pki.make_key()))


def test_the_servers_own_certificate_is_renewed_beside_the_one_that_was_installed(server: Server) -> None:
    installed = server.renew_own()
    assert installed.path == server.place.identity_dir / "tls.crt"
    server.now += HALF
    renewed = server.renew_own()
    assert renewed.path == server.state / "tls.crt"
    assert renewed.life.ends == server.now + timedelta(days=90)
    assert tls_chain.find(server.own, server.now) == renewed
    assert server.renew_own() == renewed, "it serves"
    server.now += timedelta(days=200)
    assert server.renew_own().life.ends == server.now + timedelta(days=90), "also after a long time off"


def test_the_state_directory_that_is_made_is_closed_to_others(server: Server) -> None:
    server.state = server.state / "connect" / "acme"
    server.now += HALF
    server.renew_own()
    assert server.state.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("apart", [timedelta(minutes=-10), timedelta(), timedelta(minutes=10)])
def test_clocks_ten_minutes_apart_do_no_harm(server: Server, apart: timedelta, tmp_path: Path) -> None:
    """The server's clock is `apart` from that of the client and the relay."""
    key, name = pki.make_key(), "alice.acme.tw.internal"
    there = server.now
    server.now = there + apart
    chain = server.renew("alice", ALICE, csr(key))
    found = tls_chain.check(chain, tmp_path / "tls.crt", key.public_key(), name, there)
    assert found.certificates[0] == leaf(chain)
    for at in (there, there + timedelta(days=90) + min(apart, timedelta()) - timedelta(seconds=1)):
        assert verified(server, chain, at, tmp_path), at
    assert not found.life.over(there + timedelta(days=90) + apart), "it is tried up to its end, and a little longer"
    # The client finds half of its life over up to ten minutes before or after the server does.
    server.now = there + HALF + apart
    renewed = server.renew("alice", ALICE, csr(key))
    assert verified(server, renewed, there + HALF, tmp_path)


def verified(server: Server, chain: str, at: datetime, folder: Path) -> bool:
    """Whether openssl, whose clock says `at`, accepts a chain as the relay does."""
    (folder / "root.pem").write_text(pki.pem(server.root.certificate))
    (folder / "leaf.pem").write_text(chain)
    command = ["openssl", "verify", "-purpose", "sslclient", "-x509_strict", "-attime", str(int(at.timestamp()))]
    command += ["-CAfile", str(folder / "root.pem"), "-untrusted", str(folder / "leaf.pem"), str(folder / "leaf.pem")]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


ROOT = pki.make_root(START)
CA_KEY = pki.make_key()
AUTHORITY = pki.Authority(CA_KEY, (pki.sign_tenant(ROOT, CA_KEY.public_key(), "acme", START), ROOT.certificate))
REQUEST = csr(pki.make_key())


@given(st.lists(st.integers(0, 60 * 24), max_size=6))
def test_whoever_renews_now_and_then_always_has_a_certificate_that_lasts(days: list[int]) -> None:
    users, now = UserSet({"alice": user("alice", ALICE)}), START
    for gap in days:
        now += timedelta(hours=gap)
        users = plan_renewal(users, "alice", ALICE, REQUEST, Signer(AUTHORITY, "acme", now))
        life = tls_chain.Life.of(leaf(users["alice"].certificate))
        assert life.begins < now
        assert life.ends - now > timedelta(days=44)


@given(st.integers(-7200, 7200))
def test_an_enrolment_changes_one_user_or_nothing(seconds: int) -> None:
    now = START + timedelta(seconds=seconds)
    users = UserSet({"alice": user("alice", ALICE), "bob": enrolling("bob", BOB)}, generation=7)
    shown = Credentials(BOB, str(FRESH), REQUEST)
    try:
        after = plan_enrolment(users, "bob", shown, Signer(AUTHORITY, "acme", now), lambda: "another")
    except NotGrantedError:
        assert seconds >= 3600
        return
    assert seconds < 3600
    assert (after["alice"], after.generation) == (users["alice"], 8)
    assert after["bob"].active(now)
    assert after["bob"].permits("127.0.0.1", 5432)
