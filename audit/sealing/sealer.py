"""Seals what no open transaction can come before any more."""


def seal_all() -> int:
    """Return how many entries were sealed."""
    return 0
