"""Steps from here to the relay's gate: name, TCP, TLS, clock, and whether the gate takes our certificate."""

import asyncio
import contextlib
import email.utils
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import NameOID

from tunnel_whisperer.config import RelayConfig
from tunnel_whisperer.doctor.own import utcnow
from tunnel_whisperer.doctor.result import Finding, TroubleError
from tunnel_whisperer.identity import ENROL, Identity
from tunnel_whisperer.tls_chain import Life, find

DEADLINE = 10.0
"""Seconds for a connection, a handshake or an answer."""

CLOCK_TOLERANCE = 120.0
"""Seconds our clock and the relay's may differ; certificates are issued with more to spare than that."""

_SYSTEM_ROOTS = (Path("/etc/ssl/certs/ca-certificates.crt"), Path("/etc/pki/tls/certs/ca-bundle.crt"))
"""Where Xray finds the system's roots; Python may have been built to look elsewhere."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer, without its body."""

    status: int
    headers: dict[str, str]


class _CutError(TroubleError):
    """The connection ended where an answer should have been."""


async def resolve(relay: RelayConfig) -> Finding:
    """Resolve the relay's name."""
    with contextlib.suppress(ValueError):
        return Finding(f"{ipaddress.ip_address(relay.host)} is an address")
    try:
        async with asyncio.timeout(DEADLINE):
            found = await asyncio.get_running_loop().getaddrinfo(relay.host, relay.port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise TroubleError(
            f"the name does not resolve: {error.strerror}", "look at DNS, and at the name itself"
        ) from None
    except TimeoutError:
        raise TroubleError("the name servers do not answer", "look at /etc/resolv.conf and the way to DNS") from None
    return Finding(", ".join(sorted({str(address[0]) for *_, address in found})))


async def tcp(relay: RelayConfig) -> Finding:
    """Connect to the relay's port."""
    action = f"let TCP {relay.port} to {relay.host} out of this network, and see that the relay is up"
    try:
        async with asyncio.timeout(DEADLINE):
            _, writer = await asyncio.open_connection(relay.host, relay.port)
    except TimeoutError:
        raise TroubleError("no answer: a firewall drops it, or the relay is off", action) from None
    except OSError as error:
        raise TroubleError(f"no connection: {_first_line(error)}", action) from None
    peer = writer.get_extra_info("peername")[0]
    await _close(writer)
    return Finding(f"connected to {peer}")


async def tls(relay: RelayConfig) -> Finding:
    """Shake hands and verify who answers; an interceptor is called by its name."""
    async with _shake(relay, _unverified("h2", "http/1.1"), "with anybody") as (_, _, session):
        shown, alpn, version = _certificate_of(session), session.selected_alpn_protocol(), session.version()
    issuer = issuer_of(shown)
    intercepted = (
        f"TLS is opened on the way, as by a proxy that inspects it: have {relay.host} exempted; "
        "or, where the relay itself has this certificate, name its root in relay.roots_file"
    )
    try:
        async with _shake(relay, verifying(relay), "with the relay"):
            pass
    except ssl.SSLCertVerificationError as error:
        why = error.verify_message or str(error)
        if Life.of(shown).days_left(utcnow()) < 0 or shown.not_valid_before_utc > utcnow():
            span = f"{shown.not_valid_before_utc:%Y-%m-%d} to {shown.not_valid_after_utc:%Y-%m-%d}"
            action = "set this host's clock where it is wrong; else look why Caddy cannot renew at the relay"
            raise TroubleError(f"the certificate, from {issuer}, is valid from {span}: {why}", action) from None
        raise TroubleError(f"the certificate, from {issuer}, is not accepted: {why}", intercepted) from None
    if version != "TLSv1.3":
        raise TroubleError(f"{version} was agreed on, with a certificate from {issuer}; the relay has 1.3", intercepted)
    if relay.profile == "h2" and alpn != "h2":
        action = "set relay.profile to h1, or have the proxy on the way let HTTP/2 through"
        raise TroubleError(f"HTTP/2 is not on offer, only {alpn or 'nothing'}", action)
    left = Life.of(shown).days_left(utcnow())
    advice = "it should have been renewed by now: look why Caddy cannot, at the relay" if left < 7 else ""
    return Finding(f"{version}, certificate from {issuer}, {left:.0f} days left", advice)


async def clock(relay: RelayConfig) -> Finding:
    """Compare our clock with the relay's, which need not be verified for that."""
    answer = await ask(relay, _unverified("http/1.1"), "GET", "/")
    try:
        theirs = email.utils.parsedate_to_datetime(answer.headers.get("date", ""))
    except ValueError:
        return Finding("the relay does not tell its time")
    apart = (utcnow() - theirs).total_seconds()
    if abs(apart) > CLOCK_TOLERANCE:
        way = "ahead of" if apart > 0 else "behind"
        action = "set this host's clock, and let it be kept: timedatectl set-ntp true"
        raise TroubleError(f"our clock is {abs(apart):.0f} s {way} the relay's", action)
    return Finding(f"{abs(apart):.0f} s apart at most")


async def gate(relay: RelayConfig, identity: Identity, entry: str) -> Finding:
    """Ask for our entry with our certificate: Xray's own answer proves that the gate took it."""
    context = verifying(relay)
    try:
        context.load_cert_chain(find(identity, utcnow()).path, identity.tls_key)
    except ssl.SSLError as error:
        raise TroubleError(f"our certificate and key cannot be used: {error.reason or error}", ENROL) from None
    try:
        answer = await ask(relay, context, "OPTIONS", f"/tw/{entry}/")
    except ssl.SSLError as error:
        why = (error.reason or str(error)).lower().replace("_", " ")
        raise TroubleError(f"the relay refuses our certificate: {why}", ENROL) from None
    except _CutError:
        # Without our certificate it answered; the alert that says why can be lost when it closes at once.
        raise TroubleError("the relay refuses our certificate: it cuts the connection", ENROL) from None
    if "x-padding" in answer.headers:
        return Finding("our certificate opens the entry")
    if answer.status in {502, 503, 504}:
        action = (
            f"at the relay: systemctl status 'tw-xray@{entry}' 'tw-cell@{entry}' (the operator's: tw-xray-operator)"
        )
        raise TroubleError(f"the gate took our certificate, but the entry behind it is down ({answer.status})", action)
    action = f"the certificate did not arrive (a proxy opens TLS on the way), or the relay trusts another root: {ENROL}"
    raise TroubleError(f"the relay shows its ordinary page ({answer.status}), as to any visitor", action)


def verifying(relay: RelayConfig) -> ssl.SSLContext:
    """Return a context that trusts what the carrier trusts."""
    if relay.roots_file:
        try:
            context = ssl.create_default_context(cafile=str(relay.roots_file))
        except (OSError, ssl.SSLError) as error:
            raise TroubleError(f"{relay.roots_file} cannot be used: {error}", "mend relay.roots_file") from None
    else:
        context = ssl.create_default_context()
        for bundle in _SYSTEM_ROOTS:
            if bundle.exists():
                context.load_verify_locations(cafile=bundle)
    context.set_alpn_protocols(["http/1.1"])
    return context


async def ask(relay: RelayConfig, context: ssl.SSLContext, method: str, path: str) -> Answer:
    """Make one HTTP request; raises TroubleError, or ssl.SSLError where the relay ends TLS with an alert."""
    request = f"{method} {path} HTTP/1.1\r\nHost: {relay.host}\r\nUser-Agent: Mozilla/5.0\r\nConnection: close\r\n\r\n"
    cut = _CutError("the connection was cut instead of an answer", "look for a firewall that inspects HTTPS")
    async with _shake(relay, context, "for a request") as (reader, writer, _):
        try:
            writer.write(request.encode("ascii"))
            async with asyncio.timeout(DEADLINE):
                head = await reader.readuntil(b"\r\n\r\n")
        except TimeoutError:
            raise TroubleError(f"no answer to a request within {DEADLINE:g} s", "see that the relay is well") from None
        except ssl.SSLError:
            raise
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            raise cut from None
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split()
    if len(words) < 2 or not words[1].isdigit():
        raise TroubleError(f"no web server answers there: {first[:60]!r}", "look what is at this address")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Answer(int(words[1]), headers)


def issuer_of(certificate: x509.Certificate) -> str:
    """Say who issued a certificate: organisation and name."""
    parts = [
        str(attribute.value)
        for oid in (NameOID.ORGANIZATION_NAME, NameOID.COMMON_NAME)
        for attribute in certificate.issuer.get_attributes_for_oid(oid)
    ]
    return f"'{', '.join(parts) or certificate.issuer.rfc4514_string()}'"


@contextlib.asynccontextmanager
async def _shake(
    relay: RelayConfig, context: ssl.SSLContext, what: str
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter, ssl.SSLObject]]:
    """Hold a TLS connection; raises TroubleError, or ssl.SSLError where verification fails."""
    action = "look for a firewall that inspects HTTPS, and try the other relay.profile"
    try:
        async with asyncio.timeout(DEADLINE):
            reader, writer = await asyncio.open_connection(
                relay.host, relay.port, ssl=context, server_hostname=relay.host, ssl_handshake_timeout=DEADLINE
            )
    except ssl.SSLCertVerificationError:
        raise
    except ssl.SSLError as error:
        why = (error.reason or str(error)).lower().replace("_", " ")
        raise TroubleError(f"no TLS handshake {what}: {why}", action) from None
    except TimeoutError:
        raise TroubleError(f"no end of the TLS handshake {what}", action) from None
    except OSError as error:
        raise TroubleError(f"cut during the TLS handshake {what}: {_first_line(error)}", action) from None
    try:
        yield reader, writer, writer.get_extra_info("ssl_object")
    finally:
        await _close(writer)


def _unverified(*alpn: str) -> ssl.SSLContext:
    """Return a context for looking at whoever answers; nothing of ours is sent to it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(alpn)
    return context


def _certificate_of(session: ssl.SSLObject) -> x509.Certificate:
    shown = session.getpeercert(binary_form=True)
    if not shown:
        raise TroubleError("no certificate is shown", "look what answers at this address")
    return x509.load_der_x509_certificate(shown)


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


def _first_line(error: OSError) -> str:
    return (error.strerror or str(error)).splitlines()[0]
