"""The line about the newest seal on the ledger's pages."""

from dataclasses import dataclass

from django import template

from audit.models import Check, Seal
from audit.sealing.preconditions import latest_seal

register = template.Library()


@dataclass(frozen=True)
class SealLine:
    """The newest seal, and the last finished check of the whole ledger."""

    seal: Seal | None
    check: Check | None

    @property
    def is_broken(self) -> bool:
        return self.check is not None and self.check.state == Check.State.BROKEN


@register.simple_tag
def seal_line() -> SealLine:
    """Return what the line says, in two small queries."""
    return SealLine(latest_seal(), Check.objects.finished().newest_first().first())
