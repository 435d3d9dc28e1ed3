"""Files of the age format, sealed to a passphrase or to keys; a refusal says what is wrong and what to do.

A passphrase costs two seconds and up to a gigabyte, by design, and the library keeps Python's lock meanwhile. So that
work is done by a process of its own (`age_worker.py`): a thread that waits for it holds up nobody.
"""

import re
import subprocess
import sys
from collections.abc import Sequence
from typing import Any, Literal

import pyrage

from tunnel_whisperer import age_worker
from tunnel_whisperer.errors import ConfigError, RetryableError
from tunnel_whisperer.problems import quote
from tunnel_whisperer.users.keys import read_public_key

LARGEST = 1024 * 1024
SHORTEST_PASSPHRASE = 12
MOST_WORK = 22
"""Doublings of scrypt's work; as many as the age command accepts, and 4 GiB of memory."""

Lock = Literal["passphrase", "keys"]

_FIRST_LINE = re.compile(rb"age-encryption\.org/([!-~]{1,40})\n")
_STANZA = re.compile(rb"^-> (\S+)(.*)$", re.MULTILINE)
_WORK = re.compile(rb" \S+ ([1-9][0-9]?)")
_KEY_STANZAS = {b"X25519", b"ssh-ed25519", b"ssh-rsa"}
_AGAIN = "get it again from whoever made it, and send it as a file, not as text"
_STARTS = {
    b"PK\x03\x04": "is a zip archive",
    b"\x1f\x8b": "is a gzip archive",
    b"{": "is plain JSON, not sealed",
    b"-----BEGIN AGE": "is an age file in its form as text, and a bundle is binary",
    b"-----BEGIN": "is a file in PEM form",
}


def encrypt(content: bytes, *, passphrase: str | None = None, recipients: Sequence[str] = ()) -> bytes:
    """Seal `content` in exactly one of the two ways. Raises ConfigError for a passphrase or a key that will not do."""
    if (passphrase is None) == (not recipients):
        raise ConfigError("a bundle is sealed to a passphrase or to public keys", hint="give exactly one of them")
    if passphrase is not None:
        if len(passphrase) < SHORTEST_PASSPHRASE:
            hint = "five words that are not a saying are easy to pass on"
            raise ConfigError(f"has less than {SHORTEST_PASSPHRASE} characters", where="passphrase", hint=hint)
        return _work("encrypt", passphrase, content, where="passphrase")
    sealed: bytes = pyrage.encrypt(content, [_recipient(text) for text in recipients])
    return sealed


def lock_of(data: bytes, *, where: str) -> Lock:
    """Say what opens a file; raises ConfigError, which names `where`, for one that cannot be opened at all."""
    if len(data) > LARGEST:
        raise _refusal(f"has more than {LARGEST} bytes, and no bundle has", where)
    if not data:
        raise _refusal("is empty", where)
    first = _FIRST_LINE.match(data)
    if not first:
        if b"age-encryption.org/v1\n".startswith(data[:22]):
            raise _refusal("is cut short", where)
        what = next((words for start, words in _STARTS.items() if data.lstrip().startswith(start)), None)
        raise _refusal(f"{what or 'does not begin as an age file does'}: this is no bundle", where)
    if first[1] != b"v1":
        raise _refusal(f"is of version {quote(first[1].decode())} of the age format, and v1 is known here", where)
    header, found, _ = data.partition(b"\n--- ")
    if not found:
        raise _refusal("is cut short, or altered on its way", where)
    stanzas = {stanza[1]: stanza[2] for stanza in _STANZA.finditer(header)}
    if b"scrypt" in stanzas:
        work = _WORK.fullmatch(stanzas[b"scrypt"])
        if not work or int(work[1]) > MOST_WORK:
            raise _refusal("asks for more work than any bundle does; it was altered, or is meant to do harm", where)
        return "passphrase"
    if not _KEY_STANZAS & stanzas.keys():
        raise _refusal("is sealed in a way that is not known here, or was altered on its way", where)
    return "keys"


def decrypt(data: bytes, *, passphrase: str | None = None, identities: Sequence[bytes] = (), where: str) -> bytes:
    """Open a file with a passphrase or with private keys (the content of their files). Raises ConfigError."""
    lock = lock_of(data, where=where)
    if lock == "passphrase":
        if passphrase is None:
            reason = "is sealed to a passphrase" + (", which no key opens" if identities else "")
            raise ConfigError(reason, where=where, hint="give the passphrase that came with it")
        return _work("decrypt", passphrase, data, where=where)
    if not identities:
        reason = "is sealed to a key" + (", which no passphrase opens" if passphrase is not None else "")
        hint = "give the file of your private key: --identity ~/.ssh/id_ed25519"
        raise ConfigError(reason, where=where, hint=hint)
    keys = [key for content in identities for key in read_identities(content)]
    try:
        opened: bytes = pyrage.decrypt(data, keys)
    except pyrage.DecryptError as error:
        raise _not_opened(str(error), where, "the key it was sealed to is another one") from None
    return opened


def read_identities(content: bytes, *, where: str = "identity") -> list[Any]:
    """Read a file of private keys: age's own, or an OpenSSH one. Raises ConfigError."""
    try:
        text = content.decode()
        if "PRIVATE KEY-----" in text:
            return [pyrage.ssh.Identity.from_buffer(content)]
        lines = [line.strip() for line in text.splitlines()]
        found = [pyrage.x25519.Identity.from_str(line) for line in lines if line and not line.startswith("#")]
    except pyrage.IdentityError as error:
        if "must be decrypted" in str(error):
            hint = "ssh-keygen -p -f takes the passphrase off a copy of it"
            raise ConfigError("is protected by a passphrase of its own", where=where, hint=hint) from None
        found = []
    except UnicodeDecodeError:
        found = []
    if not found:
        accepted = "accepted: an age key (AGE-SECRET-KEY-1...), an OpenSSH one of type ssh-ed25519 or ssh-rsa"
        raise ConfigError("holds no private key that opens age files", where=where, hint=accepted)
    return found


def _recipient(text: str) -> Any:
    line, where = text.strip(), "recipient"
    try:
        if "SECRET" in line.upper():
            raise ValueError("is a private key; give the public one, which begins with age1")
        if line.startswith("age1"):
            return pyrage.x25519.Recipient.from_str(line)
        return pyrage.ssh.Recipient.from_str(str(read_public_key(line)))
    except pyrage.RecipientError:
        reason = f"{quote(line)} is none that age can seal to"
    except ValueError as error:
        reason = str(error)
    raise ConfigError(
        reason, where=where, hint="accepted: age1..., or an SSH public key of type ssh-ed25519 or ssh-rsa"
    )


def _work(operation: age_worker.Operation, passphrase: str, content: bytes, *, where: str) -> bytes:
    command = [sys.executable, "-I", "-m", age_worker.__name__, operation]
    done = subprocess.run(command, input=age_worker.request(passphrase, content), capture_output=True, check=False)
    if done.returncode == 0:
        return done.stdout
    if done.returncode == age_worker.REFUSED:
        wrong = "the passphrase is wrong (mind capital letters and spaces)"
        raise _not_opened(done.stderr.decode("utf-8", "replace"), where, wrong)
    hint = "it takes up to 1 GiB of memory; one that is sealed to a key takes none"
    raise RetryableError("the work that a passphrase takes could not be done here", where=where, hint=hint)


def _not_opened(said: str, where: str, wrong: str) -> ConfigError:
    """Say in our words what the library found."""
    if "Excessive work" in said:
        return _refusal("asks for more work than this machine does in a minute; perhaps it was altered", where)
    if "Decryption failed" in said or "No matching keys" in said:
        return ConfigError(f"is not opened: {wrong}, or the file was altered on its way", where=where)
    return _refusal("is damaged: cut short, or altered on its way", where)


def _refusal(reason: str, where: str) -> ConfigError:
    return ConfigError(reason, where=where, hint=_AGAIN)
