"""Numbers in sentences."""


def count(number: int, noun: str) -> str:
    """Return `1 flow`, `2 flows`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
