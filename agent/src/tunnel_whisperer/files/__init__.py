"""Reading and changing files: durable, all or nothing, by directory descriptors, never led astray by links.

A link is followed only where nobody else could have put it: in a directory that belongs to root or to us and that
others cannot write to. Whoever works as root in a directory of an unprivileged user is therefore never led out of it.
Standard library only.
"""

from tunnel_whisperer.files.paths import open_directory, read
from tunnel_whisperer.files.steps import KEEP_OWNER, Owner
from tunnel_whisperer.files.transaction import Change, Transaction

__all__ = ["KEEP_OWNER", "Change", "Owner", "Transaction", "open_directory", "read"]
