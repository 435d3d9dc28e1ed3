"""Certificates, judged by openssl: what is ours verifies, what is forged or late does not."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from tunnel_whisperer import names, pki
from tunnel_whisperer.pki import certificates

NOW = datetime.now(UTC)


def tenant(root: pki.Authority, name: str = "acme", now: datetime = NOW) -> pki.Authority:
    key = pki.make_key()
    return pki.Authority(key, (pki.sign_tenant(root, key.public_key(), name, now), root.certificate))


@pytest.fixture(scope="module")
def root() -> pki.Authority:
    return pki.make_root(NOW)


@pytest.fixture(scope="module")
def acme(root: pki.Authority) -> pki.Authority:
    return tenant(root)


def verify(
    folder: Path, root: pki.Authority, leaf: x509.Certificate, *between: x509.Certificate, at: datetime = NOW
) -> str:
    """What openssl says, `OK` at the end when it is satisfied."""
    (folder / "root.pem").write_text(pki.pem(root.certificate))
    (folder / "leaf.pem").write_text(pki.pem(leaf))
    command = ["openssl", "verify", "-purpose", "sslclient", "-x509_strict", "-check_ss_sig", "-policy_check"]
    command += ["-attime", str(int(at.timestamp())), "-CAfile", str(folder / "root.pem")]
    if between:
        (folder / "between.pem").write_text(pki.pem(*between))
        command += ["-untrusted", str(folder / "between.pem")]
    run = subprocess.run([*command, str(folder / "leaf.pem")], capture_output=True, text=True, check=False)
    return (run.stdout + run.stderr).strip()


def text(certificate: x509.Certificate) -> str:
    return subprocess.run(
        ["openssl", "x509", "-noout", "-text"], input=pki.pem(certificate), capture_output=True, text=True, check=True
    ).stdout


def test_leaves_of_every_kind_verify(tmp_path: Path, root: pki.Authority, acme: pki.Authority) -> None:
    key = pki.make_key().public_key()
    for name in (pki.server_name("acme"), pki.user_name("alice", "acme")):
        leaf = pki.sign_leaf(acme, key, name, NOW)
        assert verify(tmp_path, root, leaf, acme.certificate).endswith("OK")
        assert f"DNS:{name}" in text(leaf)
    operator = pki.sign_leaf(root, key, pki.operator_name("primary"), NOW, days=pki.OPERATOR_DAYS)
    assert verify(tmp_path, root, operator).endswith("OK")


def test_the_longest_names_verify(tmp_path: Path, root: pki.Authority) -> None:
    name = "t" * names.MAX_TENANT
    leaf_name = pki.user_name("u" * names.MAX_USER, name)
    authority = tenant(root, name)
    leaf = pki.sign_leaf(authority, pki.make_key().public_key(), leaf_name, NOW)
    assert verify(tmp_path, root, leaf, authority.certificate).endswith("OK")


@pytest.mark.parametrize(
    "name", ["alice.umbrella.tw.internal", "alice.acme.tw.internal.evil", "acme.example", "x.notacme.tw.internal"]
)
def test_a_tenant_cannot_forge_a_name_of_another(
    name: str, tmp_path: Path, root: pki.Authority, acme: pki.Authority
) -> None:
    forged = pki.sign_leaf(acme, pki.make_key().public_key(), name, NOW)
    assert "permitted subtree violation" in verify(tmp_path, root, forged, acme.certificate)


def test_a_tenant_cannot_make_an_authority(tmp_path: Path, root: pki.Authority, acme: pki.Authority) -> None:
    key = pki.make_key()
    below = pki.Authority(key, (pki.sign_tenant(acme, key.public_key(), "branch", NOW),))
    leaf = pki.sign_leaf(below, key.public_key(), pki.user_name("alice", "acme"), NOW)
    assert "path length constraint exceeded" in verify(tmp_path, root, leaf, below.certificate, acme.certificate)


def test_a_tenant_that_certifies_itself_anew_stays_within_its_domain(
    tmp_path: Path, root: pki.Authority, acme: pki.Authority
) -> None:
    key = pki.make_key()  # an authority of the same name does not count for the path's length
    renewed = pki.Authority(key, (pki.sign_tenant(acme, key.public_key(), "acme", NOW),))
    forged = pki.sign_leaf(renewed, key.public_key(), pki.user_name("alice", "umbrella"), NOW)
    assert "permitted subtree violation" in verify(tmp_path, root, forged, renewed.certificate, acme.certificate)


def test_a_leaf_signs_nothing(tmp_path: Path, root: pki.Authority, acme: pki.Authority) -> None:
    key = pki.make_key()
    leaf = pki.Authority(key, (pki.sign_leaf(acme, key.public_key(), pki.user_name("alice", "acme"), NOW),))
    forged = pki.sign_leaf(leaf, key.public_key(), pki.user_name("bob", "acme"), NOW)
    assert not verify(tmp_path, root, forged, leaf.certificate, acme.certificate).endswith("OK")


def test_another_root_is_not_ours(tmp_path: Path, acme: pki.Authority) -> None:
    leaf = pki.sign_leaf(acme, pki.make_key().public_key(), pki.user_name("alice", "acme"), NOW)
    assert not verify(tmp_path, pki.make_root(NOW), leaf, acme.certificate).endswith("OK")


def test_certificates_say_what_they_should_and_no_more(root: pki.Authority, acme: pki.Authority) -> None:
    leaf = pki.sign_leaf(acme, pki.make_key().public_key(), pki.user_name("alice", "acme"), NOW)
    shown = text(root.certificate)
    assert "CN = Internal Services Root" in shown
    assert "whisper" not in (shown + text(acme.certificate) + text(leaf)).lower()
    assert "CA:TRUE, pathlen:1" in shown
    shown = text(acme.certificate)
    for line in (
        "X509v3 Basic Constraints: critical",
        "CA:TRUE, pathlen:0",
        "X509v3 Name Constraints: critical",
        "DNS:acme.tw.internal",
        "X509v3 Key Usage: critical",
        "Certificate Sign, CRL Sign",
    ):
        assert line in shown
    assert {e.oid._name for e in acme.certificate.extensions} == {
        "basicConstraints",
        "keyUsage",
        "nameConstraints",
        "subjectKeyIdentifier",
        "authorityKeyIdentifier",
    }
    shown = text(leaf)
    for line in ("CA:FALSE", "Digital Signature", "TLS Web Client Authentication", "ASN1 OID: prime256v1"):
        assert line in shown
    assert "Server Authentication" not in shown


def test_the_request_decides_about_its_key_only(root: pki.Authority) -> None:
    key = pki.make_key()
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "umbrella")]))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("server.umbrella.tw.internal")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=5), critical=True)
        .sign(key, hashes.SHA256())
    )
    made = pki.sign_tenant(root, pki.read_csr(request.public_bytes(Encoding.PEM).decode()), "acme", NOW)
    assert "umbrella" not in text(made)
    assert made.public_key() == key.public_key()


def test_late_and_early_clocks_do_no_harm(tmp_path: Path, root: pki.Authority, acme: pki.Authority) -> None:
    leaf = pki.sign_leaf(acme, pki.make_key().public_key(), pki.user_name("alice", "acme"), NOW)
    for skew in (timedelta(minutes=-59), timedelta(minutes=10), timedelta(days=89)):
        assert verify(tmp_path, root, leaf, acme.certificate, at=NOW + skew).endswith("OK")
    assert "expired" in verify(tmp_path, root, leaf, acme.certificate, at=NOW + timedelta(days=91))


def test_nothing_outlives_its_authority(root: pki.Authority) -> None:
    late = NOW + timedelta(days=certificates.ROOT_DAYS - 10)
    authority = tenant(root, now=late)
    leaf = pki.sign_leaf(authority, pki.make_key().public_key(), "a.acme.tw.internal", late)
    assert leaf.not_valid_after_utc == authority.certificate.not_valid_after_utc == root.certificate.not_valid_after_utc


def test_a_certificate_is_stale_for_its_first_reason(root: pki.Authority, acme: pki.Authority) -> None:
    key, name = pki.make_key().public_key(), pki.user_name("alice", "acme")
    leaf = pki.sign_leaf(acme, key, name, NOW)

    def stale(**changed: object) -> str | None:
        given = {"issuer": acme.certificate, "key": key, "name": name, "now": NOW, **changed}
        return pki.stale(leaf, **given)  # type: ignore[arg-type]  # a test's shorthand for five arguments

    assert stale() is None
    assert stale(name=None) is None
    assert stale(key=pki.make_key().public_key()) == "it is for another key"
    assert stale(name=pki.user_name("bob", "acme")) == "it is not for bob.acme.tw.internal"
    assert stale(issuer=tenant(root).certificate) == "it is of another authority"
    assert stale(issuer=leaf) == "it is of another authority"
    assert stale(now=NOW - timedelta(hours=2)) == "it is not valid yet"
    assert stale(now=NOW + timedelta(days=44)) is None
    assert stale(now=NOW + timedelta(days=46)) == "half of its life is over"
    assert stale(now=NOW + timedelta(days=90, seconds=1)) == "it has expired"


def test_a_tenants_chain_must_be_for_it(root: pki.Authority, acme: pki.Authority) -> None:
    public = acme.key.public_key()
    chain = pki.pem(*acme.chain)
    assert pki.check_tenant_chain(chain, public, "acme", NOW) == acme.chain
    leaf = pki.sign_leaf(root, public, "x.operator.tw.internal", NOW)
    cases = [
        ("", public, "acme", "no certificates"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", public, "acme", "no certificates"),
        (pki.pem(acme.certificate), public, "acme", "holds 1 certificates"),
        (chain, pki.make_key().public_key(), "acme", "for another key than this host's"),
        (chain, public, "umbrella", "not for tenant umbrella"),
        (pki.pem(acme.certificate, pki.make_root(NOW).certificate), public, "acme", "not signed by the root"),
        (pki.pem(acme.certificate, acme.certificate), public, "acme", "does not end in a root"),
        (pki.pem(leaf, root.certificate), public, "acme", "not held to any domain"),
    ]
    for given_text, key, name, reason in cases:
        with pytest.raises(ValueError, match=reason):
            pki.check_tenant_chain(given_text, key, name, NOW)
    with pytest.raises(ValueError, match="this host's clock says"):
        pki.check_tenant_chain(chain, public, "acme", NOW + timedelta(days=certificates.TENANT_DAYS + 1))
    with pytest.raises(ValueError, match="private key"):
        pki.check_tenant_chain(pki.encode_key(acme.key).decode(), public, "acme", NOW)


@given(st.integers(0, certificates.LEAF_DAYS * 24))
def test_whoever_renews_when_stale_never_holds_an_expired_certificate(hours: int) -> None:
    authority, key = AUTHORITY, KEY
    leaf = pki.sign_leaf(authority, key, "a.acme.tw.internal", NOW)
    at = NOW + timedelta(hours=hours)
    if pki.stale(leaf, authority.certificate, key, "a.acme.tw.internal", at):
        leaf = pki.sign_leaf(authority, key, "a.acme.tw.internal", at)
    assert leaf.not_valid_before_utc < at
    assert leaf.not_valid_after_utc - at > timedelta(days=44)


AUTHORITY = tenant(pki.make_root(NOW))
KEY = pki.make_key().public_key()
