"""What the page shows of changes: since the reader read the message, and since an earlier version was sent back."""

from dataclasses import dataclass

from approvals.message_page.content.differences import Change, difference
from approvals.models import Decision
from common.fingerprint import short_fingerprint
from mirror.models import Message, Revision
from mirror.querysets import VOID
from mirror.states import Outcome
from mirror.store import stored_content


@dataclass(frozen=True)
class Changes:
    """From one version to another. `before` is None where the version that was read is not known here."""

    before: Revision | None
    after: Revision
    changes: tuple[Change, ...]
    since: str = ""
    sent_back: Decision | None = None

    @property
    def read(self) -> str:
        """The version that the reader has read, as people see a fingerprint."""
        return short_fingerprint(self.since)


def changes_since(message: Message, fingerprint: str) -> Changes | None:
    """Return what changed since the version with this fingerprint; None where that is the current one, or none given.

    The fingerprint comes from the reader's page: only versions of this very message are looked at.
    """
    current = message.revision
    if not fingerprint or current is None or current.fingerprint == fingerprint:
        return None
    before = message.revisions.filter(fingerprint=fingerprint).order_by("-number").first()
    found = difference(stored_content(before), stored_content(current)) if before else ()
    return Changes(before, current, found, since=fingerprint)


def changes_since_sent_back(message: Message) -> Changes | None:
    """Return what changed since the version that was sent back, where this message is the next one."""
    if message.answers_id is None or message.revision is None:
        return None
    decisions = Decision.objects.filter(message=message.answers_id, outcome=Outcome.SEND_BACK).exclude(state__in=VOID)
    asked = decisions.select_related("revision", "given_by", "message").order_by("-pk").first()
    if asked is None:
        return None
    found = difference(stored_content(asked.revision), stored_content(message.revision))
    return Changes(asked.revision, message.revision, found, sent_back=asked)


def changes_since_version_before(message: Message) -> Changes | None:
    """Return what changed since the version before this one; None for a first version."""
    current = message.revision
    if current is None or current.number == 1:
        return None
    before = message.revisions.filter(number__lt=current.number).order_by("-number").first()
    if before is None:
        return None
    return Changes(before, current, difference(stored_content(before), stored_content(current)))
