"""The booted hosts: a tree of its own for each on top of the shared image, its keys and names, and booting it."""

from __future__ import annotations

import os
import signal
import sys
import uuid
from pathlib import Path

from tests.lab import cgroups, enter, keeper
from tests.lab.commands import LabError, run, wait_until
from tests.lab.paths import Place
from tests.lab.plan import CONTROL, DNS_ADDRESS, DOMAIN, MGMT, PUBLIC, Node, Plan

# What systemd-nspawn ends with when the system inside wants to be started again.
REBOOT = 133
DEMO = "demo"


def make_key(place: Place) -> None:
    """Make the operator's SSH key."""
    if not place.key.exists():
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"operator@{place.name}", "-f", str(place.key)])


def mounted(path: Path) -> bool:
    """Say whether something is mounted exactly there."""
    return str(path) in _mount_points()


def prepare(place: Place, image: Path, host: Node) -> None:
    """Mount a fresh tree for the host and make everything in it that must not be shared."""
    folder, root = place.host_dir(host.name), place.tree(host.name)
    for name in ("root", "upper", "work"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    # Nobody needs this tree after a power cut of the machine: "volatile" leaves out the waiting for the disk.
    layers = f"lowerdir={image},upperdir={folder / 'upper'},workdir={folder / 'work'},volatile"
    run(["mount", "-t", "overlay", f"{place.cgroup}-{host.name}", "-o", layers, str(root)])
    (root / "etc/hostname").write_text(f"{host.name}\n")
    (root / "etc/machine-id").write_text(f"{uuid.uuid4().hex}\n")
    (root / "etc/hosts").write_text(f"127.0.0.1 localhost\n127.0.1.1 {host.name}.{DOMAIN} {host.name}\n::1 localhost\n")
    (root / "etc/resolv.conf").write_text(f"nameserver {DNS_ADDRESS}\n")
    key = root / "etc/ssh/ssh_host_ed25519_key"
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"root@{host.name}", "-f", str(key)])
    authorized = root / "root/.ssh/authorized_keys"
    authorized.write_text(place.key.with_suffix(".pub").read_text())
    authorized.chmod(0o600)
    if host.kind == "server":
        run(["chroot", str(root), "systemctl", "--quiet", "enable", "postgresql.service"])
    if host.kind in ("client", "guest"):
        passwords = root / "root/.pgpass"
        passwords.write_text(f"127.0.0.1:*:{DEMO}:{DEMO}:{DEMO}\n")
        passwords.chmod(0o600)


def address_for_operator(plan: Plan, host: Node) -> str:
    """Return the name or address by which the operator's SSH reaches a host."""
    return plan.public_name(host) if host.kind == "relay" else host.address(MGMT)


def write_ssh_files(plan: Plan, place: Place) -> None:
    """Write the known host keys and a configuration with which ``ssh -F`` reaches every host from the control node."""
    known, config = [], []
    for host in plan.managed:
        algorithm, key, *_ = (place.tree(host.name) / "etc/ssh/ssh_host_ed25519_key.pub").read_text().split()
        address = address_for_operator(plan, host)
        names = [address, host.address(PUBLIC)] if host.kind == "relay" else [address]
        known.append(f"{','.join(names)} {algorithm} {key}\n")
        config.append(f"Host {host.name}\n    HostName {address}\n")
    config.append(
        f"Host *\n    User root\n    IdentityFile {place.key}\n    IdentitiesOnly yes\n    BatchMode yes\n"
        f"    UserKnownHostsFile {place.known_hosts}\n    GlobalKnownHostsFile /dev/null\n"
        "    StrictHostKeyChecking yes\n    ConnectTimeout 5\n"
    )
    place.known_hosts.write_text("".join(known))
    place.ssh_config.write_text("".join(config))


def boot(place: Place, host: Node) -> None:
    """Start the host's keeper, which boots it."""
    keeper.start(
        place,
        keeper.Spec(
            part=host.name,
            argv=[
                "systemd-nspawn",
                "--quiet",
                f"--directory={place.tree(host.name)}",
                f"--machine={place.cgroup}-{host.name}",
                f"--hostname={host.name}",
                "--boot",
                "--register=no",
                "--keep-unit",
                f"--network-namespace-path=/run/netns/{place.namespace(host.name)}",
                "--capability=CAP_NET_ADMIN",
                "--resolv-conf=off",
                "--timezone=off",
                "--link-journal=no",
                "--console=pipe",
            ],
            pid_file=str(place.pid_file(host.name)),
            cgroup=f"{place.cgroup}/{host.name}",
            namespace=place.namespace(host.name),
            again_on=REBOOT,
        ),
    )


def init_pid(place: Place, host: str) -> int | None:
    """Find the host's PID 1 as this machine numbers it."""
    for pid in cgroups.processes(f"{place.cgroup}/{host}"):
        try:
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError):
            continue
        status = dict(line.split(":", 1) for line in lines if ":" in line)
        numbers = status.get("NSpid", "").split()
        if len(numbers) > 1 and numbers[-1] == "1" and status["State"].split()[0] not in "ZX":
            return pid
    return None


def dismiss_visitors(place: Place, host: str) -> None:
    """End what :func:`inside` put into the host. Its init cannot reap these, so a shutdown would wait 10 s for them."""
    pid = init_pid(place, host)
    own = set(cgroups.processes(f"{place.cgroup}/{host}"))
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if int(folder.name) not in own and os.readlink(folder / "ns/pid") == os.readlink(f"/proc/{pid}/ns/pid"):
                os.kill(int(folder.name), signal.SIGKILL)
        except OSError:
            continue  # gone, or none of ours


def inside(place: Place, host: str) -> list[str]:
    """Return the words that, put before a command, run it as root inside the host; no network is needed."""
    pid = init_pid(place, host)
    if pid is None:
        hint = f"make lab-up NAME={place.name}; its log: {place.log(host)}"
        raise LabError(f"the host {host} is not running", hint=hint)
    return [sys.executable, "-I", str(Path(enter.__file__)), str(pid)]


def wait_for_ssh(place: Place, host: Node, deadline: float = 120) -> None:
    """Wait until the operator's SSH gets in from the control node, with the host's key verified."""
    argv = ["ip", "netns", "exec", place.namespace(CONTROL), "ssh", "-F", str(place.ssh_config), host.name, "true"]
    wait_until(
        lambda: run(argv, timeout=10).returncode == 0,
        deadline,
        f"SSH to {host.name}",
        explain=lambda: f"the end of {place.log(host.name)}:\n{tail(place.log(host.name))}",
    )


def wait_for_boot(place: Place, host: Node, deadline: float = 120) -> None:
    """Wait until a host that no SSH reaches has started all it starts."""

    def started() -> bool:
        told = run([*inside(place, host.name), "systemctl", "is-system-running"], check=False).stdout.strip()
        return told in ("running", "degraded")

    wait_until(started, deadline, f"{host.name} to boot", explain=lambda: tail(place.log(host.name)))


def start_database(place: Place, host: Node) -> None:
    """Wait for PostgreSQL on a server host and give it the table that the demo asks for."""
    psql = ["runuser", "-u", "postgres", "--", "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1"]
    ask = [*psql, "-At", "-c", f"select count(*) from pg_database where datname = '{DEMO}'"]

    def databases() -> str:
        return run([*inside(place, host.name), *ask]).stdout.strip()

    count = wait_until(databases, 60, f"PostgreSQL on {host.name}")
    if count != "0":
        return
    script = (
        f"create role {DEMO} login password '{DEMO}';\ncreate database {DEMO} owner {DEMO};\n\\connect {DEMO}\n"
        f"set role {DEMO};\ncreate table greeting (host text, words text);\n"
        f"insert into greeting values ('{host.name}', 'hello from a network that lets nobody in');\n"
    )
    run([*inside(place, host.name), *psql], input=script)


def tail(path: Path, lines: int = 15) -> str:
    """Return the end of a log."""
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:]) if path.is_file() else "(no log)"


def unmount_all(place: Place) -> None:
    """Unmount every tree of the lab."""
    below = f"{place.dir}/"
    for point in sorted((p for p in _mount_points() if p.startswith(below)), reverse=True):
        run(["umount", point])


def forget(place: Place) -> None:
    """Remove the folders that systemd-nspawn leaves behind for each host."""
    for folder in Path("/run/systemd/nspawn/propagate").glob(f"{place.cgroup}-*"):
        folder.rmdir()


def _mount_points() -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line.split()[4].encode().decode("unicode_escape") for line in lines]
