"""The command that, after a restore, holds back what may have been sent since the
backup was made. `./run restore` runs it.

The restored database does not contain what was decided and sent after the backup. So
that nothing is sent twice, every decision that was in progress counts as unconfirmed
until the desk has read its outcome from MultiMail. Messages that may have been sent are
marked for reviewers, and each connection is paused until an admin has checked it.
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
    """Run this by hand, before the desk is started, if the database was restored by
    other means.
    """

    help = "Holds back what may have been sent since a backup was made. `./run restore` runs this command."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--made-at",
            type=_moment,
            required=True,
            help="when the backup was made, in UTC",
        )

    def handle(self, *args: Any, made_at: datetime, **options: Any) -> None:
        unconfirmed, marked, paused = hold_back(made_at)
        call_command(
            "gateway_restored", "--made-at", made_at.isoformat(), stdout=self.stdout
        )
        self.stdout.write(
            f"Decisions in progress: {unconfirmed}. They are unconfirmed until the desk has read their outcome; if "
            "the message of an approval is still held, it is only sent after a person confirms it.\n"
            f"Paused connections: {paused}. Marked messages: {marked}; they may have been sent since the backup. "
            "Compare with the mail server's log, then resume each connection on its page."
        )


@transaction.atomic
def hold_back(made_at: datetime) -> tuple[int, int, int]:
    """Make decisions in progress unconfirmed, mark messages held at our gateway, and
    pause every connection. Return the number of these decisions, messages and
    connections.

    This must run before any worker starts. Messages at a hosted MultiMail need no mark:
    it was not restored, so a message that it still holds was not sent. Our gateway may
    have been restored together with the desk, and then holds messages that were sent
    after the backup.
    """
    moment = f"{made_at:%Y-%m-%d %H:%M:%S} UTC"
    in_progress = Decision.objects.filter(
        state__in=(DecisionState.RECORDED, DecisionState.CALLING)
    ).under_lock()
    for decision in in_progress:
        settle.advance(
            decision,
            DecisionEvent.DOUBT,
            OPERATOR,
            f"It was in progress when the backup of {moment} was made, and may have been carried out since.",
            may_have_left=True,
            lease_until=None,
            due_at=Now(),
        )
    # For decisions that were unconfirmed already, the desk has counted reads of
    # MultiMail. These were made before the backup, so they count no longer.
    Decision.objects.filter(state=DecisionState.UNKNOWN).update(
        seen_held=0, seen_absent=0
    )
    held = Message.objects.filter(
        state=MessageState.HELD, direction="outbound", connection__is_our_gateway=True
    )
    marked = held.exclude(revision=None).select_related("revision")
    for message in marked:
        revision = message.revision
        assert revision is not None
        other_findings = [
            one for one in revision.findings if one.get("rule") != "restored"
        ]
        revision.findings = [asdict(may_have_left()), *other_findings]
        revision.save(update_fields=["findings"])
        Review.objects.filter(pk=message.pk).update(**risk_facets(revision.findings))
    connections = list(Connection.objects.at_work().filter(paused_by_hand=False))
    # With this setting the desk repeats an unconfirmed approval when it reads that the
    # message is held. A restored gateway may hold what was sent, so it is switched off.
    Connection.objects.filter(repeats_unknown_approvals=True).update(
        repeats_unknown_approvals=False
    )
    reason = (
        f"The desk was restored from the backup of {moment}. Messages that waited then may have been decided and "
        "sent since: compare with the mail server's log, then resume the connection."
    )
    for connection in connections:
        pause_by_hand(connection=connection, reason=reason, actor=OPERATOR)
    return len(in_progress), len(marked), len(connections)


def _moment(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
