"""Kernel settings of the machine that labs need; the last lab to go puts them back. Callers hold the uplinks' lock."""

from __future__ import annotations

from pathlib import Path

SETTINGS = Path("/proc/sys")
NOTES = Path("/run/tunnel-whisperer-lab.kernel")

# Labs' packets are forwarded to the machine's uplink. Every booted system takes about eight inotify instances, all of
# one user: with the usual limit of 128, the seventeenth system's systemd does not come up, and says nothing.
LEAST = {"net/ipv4/ip_forward": 1, "fs/inotify/max_user_instances": 4096}


def raise_settings(settings: Path = SETTINGS, notes: Path = NOTES) -> None:
    """Raise what is too low, and note what it was."""
    for name, least in LEAST.items():
        setting = settings / name
        if int(found := setting.read_text()) < least:
            notes.mkdir(exist_ok=True)
            (notes / name.replace("/", ".")).write_text(found)
            setting.write_text(f"{least}\n")


def restore_settings(settings: Path = SETTINGS, notes: Path = NOTES) -> None:
    """Put back what was noted."""
    for name in LEAST:
        note = notes / name.replace("/", ".")
        if note.exists():
            (settings / name).write_text(note.read_text())
            note.unlink()
    if notes.is_dir():
        notes.rmdir()
