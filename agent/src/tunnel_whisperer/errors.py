"""Errors by the decision they call for: mend the configuration, try again, or leave it alone until something changes.

A link is always tried again, whatever ended it (`link.FAILURES`): the far end may be mended at any time.

Every error reads as one line: where it happened, what is wrong, what to do.
"""


class TwError(Exception):
    """Anything Tunnel Whisperer tells its user; `str()` gives one line, whole without its context."""

    exit_code = 1
    """What the command line ends with when this error reaches it."""

    def __init__(self, message: str, *, where: str | None = None, hint: str | None = None) -> None:
        """Say what is wrong; `where` is the file, host or part, `hint` what the reader can do about it."""
        super().__init__(message)
        self.message = message
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        text = f"{self.where}: {self.message}" if self.where else self.message
        if self.hint:
            text = f"{text} ({self.hint})"
        return " ".join(text.split())


class ConfigError(TwError):
    """What was configured cannot work: a file, key, identity or option must change before a new attempt makes sense."""

    exit_code = 2


class RetryableError(TwError):
    """It may work a moment later with nothing changed by anybody: a network, a peer or a child was not there."""


class FatalError(TwError):
    """Trying again is useless while all is as it is: refused, or broken. Whoever keeps something up by itself stops."""


class DaemonUnreachableError(TwError):
    """The daemon that should answer on its control socket does not."""

    exit_code = 3


class NotGrantedError(TwError):
    """Whoever asked a server cannot have that, and is told why; with `retry` it may be had later."""

    def __init__(self, message: str, *, retry: bool = False) -> None:
        """Say why."""
        super().__init__(message)
        self.retry = retry
