"""Says in our words why Xray could not carry a stream, from the line that it logs about it."""

import re

from tunnel_whisperer.carrier.settings import CarrierSettings

_FAILED = re.compile(r"failed to (?:GET|POST) \S+ > (?:Get|Post) \"[^\"]*\": (?P<why>.*)")
_ANSWERED = re.compile(r"unexpected status (?P<status>\d+)")

_WORDS = (
    # what Go's net and tls packages say, and what it means here; the first that is contained counts
    ("no such host", "the name {host} does not resolve"),
    ("server misbehaving", "the name {host} cannot be resolved: the name server fails"),
    ("connection refused", "{host} refuses connections on port {port}"),
    ("network is unreachable", "there is no network route to {host}"),
    ("no route to host", "there is no network route to {host}"),
    ("i/o timeout", "{host} does not answer on port {port}"),
    ("connection timed out", "{host} does not answer on port {port}"),
    ("unknown authority", "the certificate shown for {host} is from no authority that we trust: TLS is intercepted"),
    ("certificate is valid for", "the certificate shown is not for {host}"),
    ("certificate has expired or is not yet valid", "the relay's certificate is not valid at this host's time"),
    ("tls: expired certificate", "our certificate has expired: it has to be issued anew"),
    ("no certificates configured", "the relay wants a certificate from another authority than ours"),
    ("tls: bad certificate", "the relay refuses our certificate"),
    ("tls: unknown certificate", "the relay refuses our certificate"),
    ("tls: internal error", "the relay has no certificate for the name {host}"),
    ("tls: unrecognized name", "the relay has no certificate for the name {host}"),
    ("protocol version", "what answers at {host} does not speak our version of TLS"),
)


def explain(line: str, settings: CarrierSettings) -> str | None:
    """Return why a stream could not be opened, or None when the line is about something else."""
    if failed := _FAILED.search(line):
        why = failed["why"]
        for said, words in _WORDS:
            if said in why:
                return words.format(host=settings.relay.host, port=settings.relay.port)
        return f"the relay {settings.relay.host} cannot be reached: {why}"
    if answered := _ANSWERED.search(line):
        if answered["status"] in {"502", "503", "504"}:
            return f"the entry {settings.path} is not up at the relay"
        return f"the relay shows its ordinary page at {settings.path}: it does not take our certificate for this entry"
    return None
