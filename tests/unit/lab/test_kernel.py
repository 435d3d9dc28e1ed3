"""The machine's kernel settings: raised where too low, put back as they were."""

from pathlib import Path

from tests.lab import kernel


def _machine(folder: Path, values: dict[str, str]) -> Path:
    for name, value in values.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(value)
    return folder


def test_what_is_too_low_is_raised_and_put_back(tmp_path: Path) -> None:
    low, high = {"net/ipv4/ip_forward": "0\n"}, {"fs/inotify/max_user_instances": "8192\n"}
    settings, notes = _machine(tmp_path / "sys", {**low, **high}), tmp_path / "notes"

    kernel.raise_settings(settings, notes)
    kernel.raise_settings(settings, notes)  # the second lab finds nothing to note
    assert {name: (settings / name).read_text() for name in kernel.LEAST} == {"net/ipv4/ip_forward": "1\n", **high}

    kernel.restore_settings(settings, notes)
    assert {name: (settings / name).read_text() for name in kernel.LEAST} == {**low, **high}
    assert not notes.exists()
