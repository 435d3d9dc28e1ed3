"""The log of a daemon: standard error, which systemd hands to the journal."""

import logging
import os
import sys

_PRIORITIES = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))


class JournalFormatter(logging.Formatter):
    """Puts the priority in front of each line, as journald takes it."""

    def format(self, record: logging.LogRecord) -> str:
        """Format one record."""
        priority = next((priority for level, priority in _PRIORITIES if record.levelno >= level), 7)
        return "\n".join(f"<{priority}>{line}" for line in super().format(record).splitlines())


def log_to_stderr() -> None:
    """Log what an operator wants to know; asyncssh tells of every channel, so only its warnings count."""
    in_journal = "JOURNAL_STREAM" in os.environ
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JournalFormatter() if in_journal else logging.Formatter("%(asctime)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("asyncssh").setLevel(logging.WARNING)
