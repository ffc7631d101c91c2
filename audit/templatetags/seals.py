"""The template tag for the line about the newest seal, on the ledger's pages."""

from typing import Any

from django import template

from audit.models import Check
from audit.sealing.signing import latest_seal

register = template.Library()


@register.simple_tag
def seal_line() -> dict[str, Any]:
    """Return the newest seal, and the last finished check of the whole ledger."""
    return {"seal": latest_seal(), "check": Check.objects.latest_finished().first()}
