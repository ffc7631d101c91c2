"""Holds back what may have been sent since a backup was made. `./run restore` does so
by itself.

No decision is executed twice, and nobody approves a message without knowing that it may
be sent. Only MultiMail may know what happened between the backup and the restore. So
every decision in progress is in doubt, until the desk has read its outcome; and each
connection is paused until an admin has checked it.
"""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from django.core.management import BaseCommand, CommandParser, call_command
from django.db import transaction
from django.db.models.functions import Now

from approvals.decisions import settle
from approvals.examination import risk_facets
from approvals.models import Decision, Review
from common.actors import Role, operator
from connections.accounts.commands import pause_by_hand
from mirror.models import Connection, Message
from mirror.states import DecisionEvent, DecisionState, MessageState
from risk.findings import may_have_left

OPERATOR = operator("restore", Role.ADMIN)


class Command(BaseCommand):
    """Run it by hand, before the desk is started, if the database was restored by other
    means.
    """

    help = "Holds back what may have been sent since a backup was made. `./run restore` does so by itself."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--made-at",
            type=_moment,
            required=True,
            help="when the backup was made, in UTC",
        )

    def handle(self, *args: Any, made_at: datetime, **options: Any) -> None:
        doubtful, marked, paused = hold_back(made_at)
        call_command(
            "gateway_restored", "--made-at", made_at.isoformat(), stdout=self.stdout
        )
        self.stdout.write(
            f"Decisions under way: {doubtful}. They stay unconfirmed until MultiMail is read; an approval whose "
            "message is still held is only sent again when a person confirms it.\n"
            f"Paused connections: {paused}. Marked messages: {marked}; they may have been sent since. "
            "Compare with the mail server's log, then resume each connection on its page."
        )


@transaction.atomic
def hold_back(made_at: datetime) -> tuple[int, int, int]:
    """Put decisions in progress in doubt, mark messages waiting at our gateway, and
    pause every connection; return how many of each.

    Must run before any worker starts. Hosted MultiMail was not restored: what it holds
    was not sent, and what left it does not hold. Our gateway may have been restored
    too, and then holds again what was approved and sent since.
    """
    moment = f"{made_at:%Y-%m-%d %H:%M:%S} UTC"
    under_way = Decision.objects.filter(
        state__in=(DecisionState.RECORDED, DecisionState.CALLING)
    ).under_lock()
    doubtful = 0
    for decision in under_way:
        settle.advance(
            decision,
            DecisionEvent.DOUBT,
            OPERATOR,
            f"It was in progress when the backup of {moment} was made, and may have been carried out since.",
            may_have_left=True,
            lease_until=None,
            due_at=Now(),
        )
        doubtful += 1
    # Reads from before the backup prove nothing now.
    Decision.objects.filter(state=DecisionState.UNKNOWN).update(
        seen_held=0, seen_absent=0
    )
    held = Message.objects.filter(
        state=MessageState.HELD, direction="outbound", connection__is_our_gateway=True
    )
    marked = 0
    for message in held.exclude(revision=None).select_related("revision"):
        revision = message.revision
        assert revision is not None
        kept = [one for one in revision.findings if one.get("rule") != "restored"]
        revision.findings = [asdict(may_have_left()), *kept]
        revision.save(update_fields=["findings"])
        Review.objects.filter(pk=message.pk).update(**risk_facets(revision.findings))
        marked += 1
    connections = list(Connection.objects.at_work().filter(paused_by_hand=False))
    # It would execute an approval again once our gateway, restored too, is read as
    # holding the message.
    Connection.objects.filter(repeats_unknown_approvals=True).update(
        repeats_unknown_approvals=False
    )
    reason = (
        f"The desk was restored from the backup of {moment}. Messages waiting then may since have been decided and "
        "sent: compare with the mail server's log, then resume it."
    )
    for connection in connections:
        pause_by_hand(connection=connection, reason=reason, actor=OPERATOR)
    return doubtful, marked, len(connections)


def _moment(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
