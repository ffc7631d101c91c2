"""How many refusals of one Discord account the ledger keeps: whoever hammers a button must not fill it."""

from datetime import timedelta

from django.db.models.functions import Now

from alerts.models import Interaction

# So many in any minute. Each is still answered.
MOST_KEPT = 5
_MINUTE = timedelta(minutes=1)
_NO_REFUSALS = ("", "approve", "reject", "claim", "asked why", "given", "calling", "done")
LAST_KEPT = "What else this Discord account is refused within this minute is not kept."


def words_kept(interaction: Interaction, why: str) -> str | None:
    """Return what the ledger keeps of this refusal, or None where it has enough of this account for now."""
    lately = Interaction.objects.filter(
        discord_user_id=interaction.discord_user_id, created_at__gt=Now() - _MINUTE
    ).exclude(pk=interaction.pk)
    number = lately.exclude(outcome__in=_NO_REFUSALS).count()
    if number >= MOST_KEPT:
        return None
    return why if number < MOST_KEPT - 1 else f"{why} {LAST_KEPT}"
