"""Opening directories and files where others can write too, not led astray by links. Standard library only."""

import errno
import os
import stat
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from tunnel_whisperer.errors import ConfigError

_FOLLOWED = 40
"""Links followed in one path, as the kernel does."""

_LARGEST = 256 * 1024 * 1024
_O_PATH: int = getattr(os, "O_PATH", os.O_RDONLY)


@dataclass(frozen=True, slots=True)
class Found:
    """A file as it was found."""

    content: bytes
    stat: os.stat_result


def read(path: Path) -> bytes | None:
    """Return the content of a file, opened as a transaction does; None where there is no such file."""
    fd = open_directory(path.parent)
    if fd is None:
        return None
    try:
        found = read_at(fd, path.name, path, trusted=only_ours(os.fstat(fd)))
    finally:
        os.close(fd)
    return found.content if found else None


def open_directory(path: Path) -> int | None:
    """Open a directory without following links others could have put there; None where it does not exist."""
    if not path.is_absolute() or ".." in path.parts:
        raise ConfigError("is no absolute path without '..'", where=str(path))
    parts = deque(path.parts[1:])
    followed = 0
    fd = os.open("/", _O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        while parts:
            name = parts.popleft()
            try:
                deeper = os.open(name, _O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
            except FileNotFoundError:
                return None
            except OSError as error:
                target = _followable(fd, name, error, path)
                followed += 1
                if followed > _FOLLOWED:
                    raise ConfigError("leads through too many links", where=str(path)) from None
                parts.extendleft(reversed(Path(target).parts))
                continue
            os.close(fd)
            fd = deeper
        return os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd)
    except PermissionError:
        raise ConfigError("may not be opened by this user", where=str(path)) from None
    finally:
        os.close(fd)


def _followable(fd: int, name: str, error: OSError, path: Path) -> str:
    if error.errno not in (errno.ENOTDIR, errno.ELOOP):
        raise error
    found = os.lstat(name, dir_fd=fd)
    if not stat.S_ISLNK(found.st_mode):
        raise ConfigError(f"'{name}' is no directory", where=str(path))
    if not only_ours(os.fstat(fd)) or found.st_uid not in (0, os.geteuid()):
        raise ConfigError(f"'{name}' is a link that others could have put there; it is not followed", where=str(path))
    return os.readlink(name, dir_fd=fd)


def read_at(fd: int, name: str, path: Path, *, trusted: bool) -> Found | None:
    """Read the ordinary file `name` in the directory `fd`; None where there is none. `path` is for messages."""
    try:
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=fd)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise ConfigError("is a link; it is not followed", where=str(path), hint="remove it") from None
        raise ConfigError(f"cannot be read: {error.strerror}", where=str(path)) from None
    try:
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode):
            raise ConfigError("is no ordinary file", where=str(path), hint="remove it")
        if found.st_nlink != 1 and not trusted:
            raise ConfigError("has a second name somewhere (hard link)", where=str(path), hint="remove it")
        if found.st_size > _LARGEST:
            raise ConfigError(f"has {found.st_size} bytes; such a file is not ours", where=str(path))
        with open(file, "rb", closefd=False) as stream:
            return Found(stream.read(), found)
    finally:
        os.close(file)


def only_ours(directory: os.stat_result) -> bool:
    """Say whether nobody but root and this process's user can put something into this directory."""
    return directory.st_uid in (0, os.geteuid()) and not directory.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
