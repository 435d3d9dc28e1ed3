"""Two entries of a directory change places in one step, which no power cut divides. Standard library only."""

import ctypes
import errno
import os
from collections.abc import Callable
from functools import cache

_RENAME_EXCHANGE = 2
_NOT_TO_BE_HAD = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP)


def exchange(directory: int, one: str, other: str) -> bool:
    """Exchange two entries; False where kernel, C library or file system cannot do it. Raises OSError."""
    rename = _renameat2()
    if rename is None:
        return False
    if rename(directory, os.fsencode(one), directory, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in _NOT_TO_BE_HAD:
        return False
    raise OSError(number, os.strerror(number), other)


@cache
def _renameat2() -> Callable[..., int] | None:
    """Find the system call, which Python has no name for."""
    library = ctypes.CDLL(None, use_errno=True)
    try:
        found = library.renameat2
    except AttributeError:
        return None
    found.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
    found.restype = ctypes.c_int
    rename: Callable[..., int] = found
    return rename
