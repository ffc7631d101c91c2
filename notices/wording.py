"""What notices say, and where they lead: made of their causes and acts."""

from dataclasses import dataclass
from datetime import datetime

from django.urls import reverse

from approvals.desk_messages import desk_messages
from approvals.escalation.handling import deadline_of
from approvals.examination import started_by
from common.counts import count_of, counted
from notices.models import Cause, Notice
from rendering import named

SENTENCES = {
    "assigned": "Assigned to you",
    "reminded": "Late by its review plan, or nearly so",
    "mentioned": "You were asked in a comment",
    "approval": "Needs an approval of your group",
    "change": "A change waits for a second admin",
    "summary": "Waiting for review this morning",
    "decision.refused": "Your decision was not carried out; the message waits again",
    "decision.superseded": "Somebody else decided before you",
    "decision.found_again": "The message that you decided is held again",
    "decision.unattributed": "It is not known what became of your decision",
    "message.failed": "Could not be sent after your approval",
    "message.bounced": "Bounced after your approval",
    "message.complained": "The recipient marked it as spam",
    "person.signed_in": "Somebody signed in to your account from a new device",
    "person.factor_added": "A second factor was added to your account",
    "person.factor_removed": "A second factor was removed from your account",
    "person.password_link_made": "A link for a new password of your account was made",
    "person.password_changed": "Your password was changed",
    "person.recovery_code_used": "A recovery code of your account was used",
    "person.chat_linked": "A chat account was linked to yours",
    "person.provider_linked": "Your account was linked at the sign-in provider",
    "person.grants_changed": "Your roles were changed",
}
_SESSIONS = ("person.signed_in", "person.password_changed")


@dataclass(frozen=True)
class ShownNotice:
    """A notice as pages and mails show it."""

    notice: Notice
    sentence: str
    # The name of what it is about; empty if it is about the person's account.
    subject: str
    path: str

    @property
    def sender(self) -> str:
        """Who wants to send the message."""
        message = self.notice.message
        starter = started_by(message).partition(":")[2] if message else ""
        return named(starter or str(message and (message.mailbox or message.sender)))

    @property
    def risk(self) -> str:
        """ "high" if the message has a high risk; else empty."""
        level = self.notice.message.review.risk_level if self.notice.message else ""
        return level if level == "high" else ""

    @property
    def deadline(self) -> datetime | None:
        """By when the message should be decided."""
        return deadline_of(self.notice.message) if self.notice.message else None

    @property
    def title(self) -> str:
        """The subject, or what happened if there is none."""
        return self.subject or self.sentence


def shown(notice: Notice) -> ShownNotice:
    """Return what a notice says. Its message and change should be loaded already."""
    cause = notice.cause
    sentence = SENTENCES.get(cause) or SENTENCES[notice.action]
    subject = ""
    path = reverse("sessions" if notice.action in _SESSIONS else "account")
    if message := notice.message:
        subject = named(message.subject).strip() or "(no subject)"
        path = reverse("message", args=[message.public_id])
    elif notice.change is not None:
        subject = notice.change.title
        path = reverse("pending-changes")
    elif cause == Cause.SUMMARY:
        actor = notice.person.actor(surface="worker")
        number = count_of(desk_messages().waiting_for(actor))
        subject = f"{counted(number)} message{'' if number == 1 else 's'}"
        path = reverse("queue")
    return ShownNotice(notice, sentence, subject, path)
