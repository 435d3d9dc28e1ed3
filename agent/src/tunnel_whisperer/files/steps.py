"""What a change to files consists of. Standard library only."""

import os
from dataclasses import dataclass
from pathlib import Path

from tunnel_whisperer.errors import FatalError
from tunnel_whisperer.files.paths import only_ours


@dataclass(frozen=True, slots=True)
class Owner:
    """Whom a file belongs to. None keeps what is there; a new file then belongs to whom its directory belongs to."""

    uid: int | None = None
    gid: int | None = None


KEEP_OWNER = Owner()


@dataclass(slots=True)
class Directory:
    """A directory that is looked at or changed; `fd` and `found` are None for one that is still to be made."""

    path: Path
    fd: int | None
    found: os.stat_result | None
    parent: "Directory | None" = None
    locked: bool = False

    @property
    def trusted(self) -> bool:
        """Whether nobody but us can put something there."""
        return self.found is None or only_ours(self.found)

    def descriptor(self) -> int:
        """Return the open directory; raises FatalError where there is none."""
        if self.fd is None:
            raise FatalError("does not exist", where=str(self.path))
        return self.fd


@dataclass(frozen=True, slots=True)
class Step:
    """A planned change of one entry: a new content, new attributes of a directory, or (content None) its removal."""

    directory: Directory
    name: str
    existed: bool
    content: bytes | None = None
    mode: int = 0
    owner: Owner = KEEP_OWNER
