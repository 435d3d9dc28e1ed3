"""Steps that look at this host alone: our certificate and our Xray."""

import asyncio
import datetime
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path

from cryptography import x509

from tunnel_whisperer.doctor.result import Finding, TroubleError
from tunnel_whisperer.identity import ENROL, Identity
from tunnel_whisperer.tls_chain import find

_XRAY_DEADLINE = 10.0


def utcnow() -> datetime.datetime:
    """Return the time here."""
    return datetime.datetime.now(datetime.UTC)


def names_of(certificate: x509.Certificate) -> list[str]:
    """Return the DNS names a certificate is for."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return extension.value.get_values_for_type(x509.DNSName)


async def certificate(identity: Identity, entry: str, holder: str | None) -> Finding:
    """Look at our own certificate: it is for `<holder>.<entry>.tw.internal` (any holder where None) and valid now."""
    chain = find(identity, utcnow())
    name = next(iter(names_of(chain.leaf)), "")
    suffix = f".{entry}.tw.internal"
    if not name.endswith(suffix) or (holder and name != f"{holder}{suffix}"):
        wanted = f"{holder or '…'}{suffix}"
        raise TroubleError(f"our certificate is for {name or 'no name'} instead of {wanted}", ENROL)
    life, now = chain.life, utcnow()
    if life.begins > now:
        raise TroubleError(f"our certificate begins only on {life.begins:%Y-%m-%d}", "set this host's clock")
    if life.over(now):
        action = f"this host was off or out of reach for longer than a certificate lives: {ENROL}"
        raise TroubleError(f"our certificate ended on {life.ends:%Y-%m-%d}", action)
    advice = f"it should have been renewed at half of its life; tw status says why not. Before it ends: {ENROL}"
    return Finding(f"{name}, {life.days_left(now):.0f} days left", advice if life.low(now) else "")


async def xray(path: Path) -> Finding:
    """Run Xray for its version."""
    try:
        process = await asyncio.create_subprocess_exec(path, "version", stdout=PIPE, stderr=STDOUT)
    except OSError as error:
        raise TroubleError(f"it cannot be run: {error.strerror}", "let site.yml install the agent again") from None
    try:
        async with asyncio.timeout(_XRAY_DEADLINE):
            out, _ = await process.communicate()
    except TimeoutError:
        raise TroubleError("it does not end", "look at the load of this host") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    words = out.decode("utf-8", "replace").split()
    if process.returncode != 0 or words[:1] != ["Xray"]:
        raise TroubleError(f"it says: {' '.join(words)[:200]}", "let site.yml install the agent again")
    return Finding(f"version {words[1]}")
