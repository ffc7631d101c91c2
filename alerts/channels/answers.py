"""What people who press a button or give a command in a chat are answered: whose account
it is, how to link it, and how often a refusal is recorded.
"""

from dataclasses import replace
from datetime import timedelta

from django.db.models.functions import Now

from alerts.cards.markup import Markup
from alerts.models import Interaction
from audit.recording import record
from common.actors import Actor
from mirror.models import Message
from people.accounts.chat_accounts import offer_link
from people.models import Person

# The field of the form that asks why a message is rejected, and what it says.
REASON = "reason"
REASON_TITLE = "Reject this message"
REASON_LABEL = "Reason (sent to the agent)"
REASON_HELP = "Tell the agent what to do differently."
# What the person is told after an unexpected error. The log has the details.
BROKEN = (
    "The desk had an error, which its operator can find in the log. Nothing was done."
)
# What they are told if the form could not be shown in time.
LATE = (
    "Nothing was decided: the form could not be opened in time. Press the button again."
)

# How many refusals of one account the ledger gets within a minute, so that nobody fills
# it by pressing a button again and again. Every press is still answered.
MAX_REFUSALS = 5
LAST_REFUSAL = "Further refusals of this account within this minute are not recorded."
# Outcomes of interactions that were not refused.
_NO_REFUSALS = (
    "",
    "claim refused",
    "bad form",
    "not shown whole",
    "not ours",
    "asked why",
    *"approve approved reject claim listed fault given calling done".split(),
)


def link_instructions(interaction: Interaction, markup: Markup) -> str:
    """Return how to link this account to one at the desk. The text contains a secret
    link, so only the account's owner may see it.
    """
    url = offer_link(
        service=interaction.service,
        account_id=interaction.user_id,
        name=interaction.user_name,
    )
    link = markup.answer_link("Link it to your account at the desk", url)
    return (
        f"This {interaction.get_service_display()} account is not linked to anyone at the desk, so nothing was done. "
        f"{link}: sign in and confirm that it is yours. The link works once, for 15 minutes. Then try again. You can "
        "find it later under Your account, Chat accounts."
    )


def recorded_refusal(interaction: Interaction, reason: str) -> str | None:
    """Return the reason to record in the ledger for this refusal; None if MAX_REFUSALS
    of this account were recorded within the last minute.
    """
    recent = Interaction.objects.filter(
        service=interaction.service,
        user_id=interaction.user_id,
        created_at__gt=Now() - timedelta(minutes=1),
    )
    number = recent.exclude(pk=interaction.pk).exclude(outcome__in=_NO_REFUSALS).count()
    if number >= MAX_REFUSALS:
        return None
    return reason if number < MAX_REFUSALS - 1 else f"{reason} {LAST_REFUSAL}"


def record_refusal(
    interaction: Interaction,
    actor: Actor,
    what: str,
    reason: str,
    message: Message | None = None,
) -> None:
    """Record in the ledger what was refused, unless it is one refusal too many."""
    if words := recorded_refusal(interaction, reason):
        about = message.ledger_subject if message else {}
        details = {"outcome": what, "explanation": words}
        record("interaction.refused", actor, details=details, **about)


def proof_of(interaction: Interaction) -> tuple[tuple[str, str], ...]:
    """Return what the service signed about the person who pressed, as pairs of a name
    and a value for the ledger.
    """
    return (
        (interaction.service, interaction.user_name),
        (f"{interaction.service}_id", interaction.user_id),
        ("interaction", interaction.external_id),
    )


def actor_of(interaction: Interaction) -> Actor:
    """Return who pressed or typed: the person to whom the account is linked, who is also
    noted in the interaction, or else the account.
    """
    account = interaction.user_id
    linked = Person.objects.filter(
        chat_accounts__service=interaction.service, chat_accounts__account_id=account
    )
    interaction.person = linked.prefetch_related("grants").first()
    actor = Actor(
        kind=interaction.service,
        id=account,
        label=interaction.user_name or account,
        surface=interaction.service,
    )
    if interaction.person is not None:
        actor = interaction.person.actor(surface=interaction.service)
    return replace(actor, proof=proof_of(interaction))
