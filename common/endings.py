"""How the review of a message ended, as a code that the gateway, the desk and its alerts
share.
"""

from typing import Any

from django.db import models


class EndedBy(models.TextChoices):
    """Whose act ended the review. After `expiry` nobody decided. `elsewhere`: by a
    program that does not say whose act it was.
    """

    PERSON = "person"
    PASS = "pass"
    RULE = "rule"
    EXPIRY = "expiry"
    ELSEWHERE = "elsewhere"


def known_ending(value: Any) -> str:
    """Return a code that MultiMail reports; empty if it is none of these."""
    return value if value in EndedBy.values else ""
