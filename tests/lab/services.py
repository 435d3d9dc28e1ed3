"""The services of a lab: the Internet's DNS, an ACME certificate authority, and the control node's own resolver."""

from __future__ import annotations

import datetime
import json
from functools import partial
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.lab import keeper, network
from tests.lab.commands import LabError, run, wait_until
from tests.lab.paths import Place
from tests.lab.plan import ACME_ADDRESS, ACME_NAME, CONTROL, DNS_ADDRESS, DOMAIN, Plan

ACME_PORT = 14000
ACME_ADMIN_PORT = 15000
ACME_DIRECTORY = f"https://{ACME_NAME}:{ACME_PORT}/dir"


def upstream_servers(resolv_conf: str, resolved_conf: str = "") -> list[str]:
    """Find resolvers the control node can reach: the machine's, or behind its local stub those that the stub asks."""
    for text in (resolv_conf, resolved_conf):
        words = [line.split() for line in text.splitlines()]
        servers = [row[1] for row in words if len(row) > 1 and row[0] == "nameserver"]
        if usable := [server for server in servers if not server.startswith("127.") and ":" not in server]:
            return usable
    return []


def machine_resolvers() -> list[str]:
    """Return the machine's resolvers that can be reached from a namespace."""
    texts = [path.read_text() if path.is_file() else "" for path in _RESOLVER_FILES]
    if servers := upstream_servers(*texts):
        return servers
    raise LabError(
        "this machine's DNS resolver answers on its loopback only, so the lab's control node cannot ask it",
        hint="add a 'nameserver' line with an IPv4 address that is not on 127.0.0.0/8 to /etc/resolv.conf",
    )


_RESOLVER_FILES = (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf"))


def public_dns(plan: Plan) -> str:
    """Write dnsmasq's configuration of the lab's Internet: it knows the lab's names, and that there are no others."""
    records = "".join(f"host-record={name},{address}\n" for name, address in plan.names.items())
    return f"{_DNSMASQ}listen-address={DNS_ADDRESS}\nno-resolv\naddress=/#/\n{records}"


def control_dns(servers: list[str]) -> str:
    """Write dnsmasq's configuration of the control node: the lab's names from the lab, others from the machine's."""
    upstream = "".join(f"server={server}\n" for server in servers)
    return f"{_DNSMASQ}listen-address=127.0.0.1\nno-resolv\nserver=/{DOMAIN}/{DNS_ADDRESS}\n{upstream}"


_DNSMASQ = "keep-in-foreground\nlog-facility=-\nuser=root\npid-file=\nbind-interfaces\nno-hosts\n"


def start_dns(plan: Plan, place: Place) -> None:
    """Start both name servers and wait until the control node finds a relay by name."""
    folder = place.dir / "services"
    folder.mkdir(parents=True, exist_ok=True)
    for part, node, text in (("dns", "dns", public_dns(plan)), ("resolver", CONTROL, control_dns(machine_resolvers()))):
        config = folder / f"{part}.conf"
        config.write_text(text)
        _start(place, part, node, ["dnsmasq", f"--conf-file={config}"])
    network.resolve_with(place, CONTROL, "127.0.0.1")
    network.resolve_with(place, "outside", DNS_ADDRESS)
    for name in plan.names:
        wait_until(partial(resolves, place, name), 20, f"the lab's DNS to know {name}")


def resolves(place: Place, name: str) -> bool:
    """Say whether the control node finds a name."""
    look = ["ip", "netns", "exec", place.namespace(CONTROL), "getent", "ahostsv4", name]
    return run(look, check=False).returncode == 0


def reaches_world(place: Place, name: str) -> bool:
    """Say whether the control node gets answers from the machine's DNS; the network may need a moment to forward."""
    try:
        return wait_until(partial(resolves, place, name), 3, name)
    except LabError:
        return False


def start_acme(place: Place) -> None:
    """Start pebble and fetch the root it made for itself; it makes a new one at each start."""
    folder = place.dir / "acme"
    if keeper.alive(place.pid_file("acme")) and place.acme_root.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    _api_certificate(place.acme_api_root, folder / "api.key")
    config = {
        "pebble": {
            "listenAddress": f"{ACME_ADDRESS}:{ACME_PORT}",
            "managementListenAddress": f"{ACME_ADDRESS}:{ACME_ADMIN_PORT}",
            "certificate": str(place.acme_api_root),
            "privateKey": str(folder / "api.key"),
            "httpPort": 80,
            "tlsPort": 443,
        }
    }
    (folder / "pebble.json").write_text(json.dumps(config, indent=2))
    _start(
        place,
        "acme",
        "acme",
        ["pebble", "-config", str(folder / "pebble.json"), "-dnsserver", f"{DNS_ADDRESS}:53"],
        env={"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0"},
    )
    fetch = ["curl", "--silent", "--fail", "--cacert", str(place.acme_api_root)]
    url = f"https://{ACME_NAME}:{ACME_ADMIN_PORT}/roots/0"
    words = ["ip", "netns", "exec", place.namespace(CONTROL), *fetch, url]
    root = wait_until(lambda: run(words).stdout, 20, "the ACME CA's root certificate")
    # What an earlier pebble signed is still in use on the relays.
    earlier = place.acme_root.read_text() if place.acme_root.exists() else ""
    place.acme_root.write_text(root + earlier)


def _start(place: Place, part: str, node: str, argv: list[str], *, env: dict[str, str] | None = None) -> None:
    keeper.start(
        place,
        keeper.Spec(
            part=part,
            argv=["ip", "netns", "exec", place.namespace(node), *argv],
            pid_file=str(place.pid_file(part)),
            cgroup=f"{place.cgroup}/{part}",
            env=env or {},
        ),
    )


def _api_certificate(certificate_file: Path, key_file: Path) -> None:
    """Make the self-signed certificate that the ACME directory itself shows."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, ACME_NAME)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=365))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(ACME_NAME)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.touch(mode=0o600)
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
