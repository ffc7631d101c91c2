"""Builds the sheet of bulk review: for each chosen message what a reviewer needs to
judge it, or the reason why it cannot be decided or approved there.

The number of queries does not grow with the number of messages. The browser posts the
list of what was on the sheet back, signed, so that only what was shown can be decided.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from uuid import UUID

from django.core import signing

from approvals.decisions.decide import why_not_in_bulk
from approvals.decisions.ruling import Ruling, rulings
from approvals.decisions.status import available_actions, shown_status
from approvals.desk_messages import desk_messages, latest_decision
from approvals.errors import InvalidInput
from approvals.message_page.content.addresses import Field, lines_of_many
from approvals.message_page.content.source import Stretch, stretch_of
from approvals.message_page.sheet import rendered_message_of
from approvals.message_page.side_panel import FoundLine, findings_of, stated_reason
from approvals.queue.rows import Expiry, expiry_of, live_claim
from common.actors import Actor
from common.fingerprint import Attachment, Content
from common.identifiers import uuid7
from mirror.attachments.preview import FilePreview
from mirror.models import AttachedFile, Message, Revision, ThreadMessage
from mirror.store import stored_content
from mirror.threads import came_since
from rendering import RenderedMessage, named
from rendering.invisibles import without_surrogates

# The most messages on a sheet; a page of the queue has as many rows.
MAX_ITEMS = 50
# How long a sheet can be decided from: as long as a session lasts.
LASTS = timedelta(hours=12)
_SALT = "approvals.bulk.sheet"


@dataclass(frozen=True)
class OnSheet:
    """One message of a sheet that was shown: its id and the version that was shown.

    `why_alone` says why it can only be approved on its own page; empty if the sheet can
    approve it. `like` is the message that was shown whole for this one, of which only
    the differences from it were shown; None if this message was shown whole.
    """

    message: UUID
    fingerprint: str
    why_alone: str = ""
    like: UUID | None = None

    @property
    def pair(self) -> str:
        """The value of the message's tick box: its id and its fingerprint."""
        return f"{self.message}.{self.fingerprint}"


@dataclass(frozen=True)
class Sheet:
    """A sheet that was shown: its messages in order, and its id, which the ledger notes
    with each verdict.
    """

    items: Sequence[OnSheet]
    id: str = field(default_factory=lambda: uuid7().hex)

    def only(self, ticked: Collection[str]) -> tuple[OnSheet, ...]:
        """Return the ticked items. Raises InvalidInput if the value of a tick box was
        not on the sheet.
        """
        wanted = set(ticked)
        chosen = tuple(item for item in self.items if item.pair in wanted)
        if len(chosen) != len(wanted):
            raise InvalidInput(
                "A ticked message was not on this sheet, so nothing was decided. Open it again."
            )
        return chosen


def sign_sheet(sheet: Sheet, person: str) -> str:
    """Return the sheet as signed text, which only this person can post back."""
    items = [
        (
            item.message.hex,
            item.fingerprint,
            item.why_alone,
            item.like.hex if item.like else "",
        )
        for item in sheet.items
    ]
    return signing.dumps([sheet.id, items], salt=_SALT + person, compress=True)


def read_sheet(signed: str, person: str) -> Sheet:
    """Return the sheet that was signed. Raises InvalidInput if it is another person's,
    too old, or not signed by this desk.
    """
    try:
        sheet_id, items = signing.loads(signed, salt=_SALT + person, max_age=LASTS)
    except signing.BadSignature:
        raise InvalidInput(
            "This sheet is too old to decide from, so nothing was decided. Open it again."
        ) from None
    return Sheet(
        [
            OnSheet(UUID(message_id), fingerprint, why, UUID(like) if like else None)
            for message_id, fingerprint, why, like in items
        ],
        sheet_id,
    )


# About how many characters of each message are open; the rest is behind one click.
BEGUN = 1200
# Limits in characters of one message and of all on a sheet together. Messages beyond
# them are not shown whole and cannot be approved on the sheet.
MAX_MESSAGE = 20_000
MAX_SHEET = 400_000
MAX_SUBJECT = 2000
MAX_LINKS = 60


@dataclass(frozen=True)
class Difference:
    """What one of several alike messages has in a place in which they differ, and the
    words before that place.

    `most` is the value that most of the messages have there; None if each has a value
    of its own, such as a name.
    """

    before: str
    value: Stretch
    most: str | None


@dataclass
class Item:
    """One message on the sheet. `why_alone` says why it cannot be approved here; empty
    if it can. `text` is what its recipient reads.

    `like` is the message that is shown whole for this one, if there is one. Then only
    the `differences` from it are shown, and of the findings, links, files and origin
    only those named in `changed_parts`. `spans` are the places of the text in which
    alike messages differ: begin, end, and "odd" or "own" (see `groups`).
    """

    message: Message
    revision: Revision
    content: Content
    ruling: Ruling
    findings: Sequence[FoundLine]
    expiry: Expiry | None
    fields: Sequence[Field] = ()
    files: Sequence[FilePreview] = ()
    # "Claimed by" or "Assigned to", with the other person; empty if nobody else has it.
    holder: str = ""
    why_alone: str = ""
    # None if the message is too long for the sheet.
    rendered: RenderedMessage | None = None
    text: str = ""
    like: UUID | None = None
    changed_parts: frozenset[str] = frozenset()
    differences: list[Difference] = field(default_factory=list)
    spans: Sequence[tuple[int, int, str]] = ()

    @property
    def kind(self) -> str:
        """What an approval does: "send", "schedule", or "release" to the agent."""
        if self.message.is_inbound:
            return "release"
        return "schedule" if self.content.send_at else "send"

    @property
    def reason(self) -> str:
        """The agent's stated reason for this message."""
        return stated_reason(self.message.trigger)

    @property
    def not_stored(self) -> Sequence[Attachment]:
        """The attachments that the desk has not fetched."""
        return self.content.attachments[len(self.files) :]

    @cached_property
    def cut(self) -> int:
        """After how many characters the open part of the text ends: at the end of a
        line or word, or of the whole text if only a few words would be left.
        """
        if len(self.text) <= BEGUN + BEGUN // 4:
            return len(self.text)
        cut = max(
            self.text.rfind("\n", BEGUN - 200, BEGUN),
            self.text.rfind(" ", BEGUN - 40, BEGUN),
        )
        return cut + 1 if cut > 0 else BEGUN

    @property
    def begun(self) -> list[tuple[str, Stretch]]:
        """The open part of the text, as pairs of kind and text. The kind is "odd" or
        "own" in a place where alike messages differ, else empty.
        """
        return self._runs(0, self.cut)

    @property
    def rest(self) -> list[tuple[str, Stretch]]:
        """The part of the text behind one click, as such pairs."""
        return self._runs(self.cut, len(self.text))

    @property
    def more(self) -> int:
        """How many characters are behind one click."""
        return len(self.text) - self.cut

    def _runs(self, start: int, end: int) -> list[tuple[str, Stretch]]:
        # The text from `start` to `end`, split at the spans.
        runs = []
        at = start
        for begin, stop, kind in self.spans:
            begin = max(begin, at)
            stop = min(stop, end)
            if begin < stop:
                runs += [("", self.text[at:begin]), (kind, self.text[begin:stop])]
                at = stop
        runs.append(("", self.text[at:end]))
        return [(kind, stretch_of(part)) for kind, part in runs if part]

    @property
    def on_sheet(self) -> OnSheet:
        """What a verdict on the sheet knows of this message."""
        return OnSheet(
            self.message.public_id,
            self.revision.fingerprint,
            self.why_alone,
            self.like,
        )

    @property
    def is_high(self) -> bool:
        return any(one.level == "high" for one in self.findings)


@dataclass(frozen=True)
class Gathered:
    """What goes on a sheet: messages that can be approved there (`ready`), messages
    that can only be approved on their own page (`alone`), and what is left out, with
    the reason. The message is None if this person may not see it.
    """

    ready: Sequence[Item]
    alone: Sequence[Item]
    left_out: Sequence[tuple[Message | None, str]]

    @property
    def items(self) -> list[Item]:
        return [*self.ready, *self.alone]


def gather(chosen: Sequence[UUID], *, actor: Actor, now: datetime) -> Gathered:
    """Return the sheet of the chosen messages: the `ready` ones in the order chosen,
    the `alone` ones riskiest first.
    """
    visible = desk_messages().visible_to(actor).for_page()
    message_by_id = visible.in_bulk(chosen, field_name="public_id")
    messages = [message_by_id[one] for one in chosen if one in message_by_id]
    ruled = rulings(messages, actor, now=now)
    left_out: list[tuple[Message | None, str]] = []
    items = []
    for message in messages:
        ruling = ruled[message.pk]
        revision = message.revision
        if why := _why_not(message, ruling):
            left_out.append((message, why))
        elif revision is not None:
            item = Item(
                message,
                revision,
                stored_content(revision),
                ruling,
                findings_of(message),
                expiry_of(message, now),
            )
            claim = live_claim(message, now)
            if claim is not None and str(claim.person_id) != actor.id:
                item.holder = f"{claim.words} {claim.person}"
            items.append(item)
    unknown = (None, "It does not exist, or you may not see it.")
    left_out += [unknown for one in chosen if one not in message_by_id]
    fields = lines_of_many([(one.message, one.content) for one in items], actor)
    late = came_since([one.message for one in items])
    files: dict[int, list[FilePreview]] = defaultdict(list)
    with_files = [one.revision.pk for one in items if one.content.attachments]
    stored = AttachedFile.objects.filter(revision__in=with_files)
    for file in stored.without_bytes().in_order():
        files[file.revision_id].append(FilePreview(file))
    ready = []
    alone = []
    characters_left = MAX_SHEET
    for item in items:
        content = item.content
        item.fields = fields[item.message.pk]
        item.files = files[item.revision.pk]
        size = len(content.html or "") + len(content.markdown or "")
        if (
            size <= min(MAX_MESSAGE, characters_left)
            and len(content.subject) <= MAX_SUBJECT
        ):
            characters_left -= size
            item.rendered = rendered_message_of(item.revision, content)
            item.text = without_surrogates(
                item.rendered.read or item.rendered.text
            ).strip()
        item.why_alone = _why_alone(item, late.get(item.message.pk))
        if item.why_alone:
            alone.append(item)
        else:
            ready.append(item)
    alone.sort(key=lambda one: one.message.review.calm)
    return Gathered(ready, alone, left_out)


def _why_not(message: Message, ruling: Ruling) -> str:
    """Return why a message cannot be decided on a sheet at all; empty if it can."""
    if message.revision is None:
        return (
            "Its content is still being fetched."
            if message.is_held
            else "It is no longer held."
        )
    actions = available_actions(message, latest_decision(message), is_reviewer=True)
    if not actions.takes_verdict:
        status = shown_status(message)
        return f"{'. '.join(part for part in (status.word, status.detail) if part)}."
    if actions.kind == "withdrawn":
        return "An approval of it was withdrawn and may still take effect. Open it to decide."
    return "" if ruling.may_reject else ruling.reasons[0]


def _why_alone(item: Item, late: ThreadMessage | None) -> str:
    """Return why a message cannot be approved on a sheet; empty if it can. `late` is a
    message that came in its thread after it was written.
    """
    if not item.ruling.may_approve:
        return item.ruling.reasons[0]
    if why := why_not_in_bulk(item.message, item.ruling.demand):
        return why
    if item.is_high:
        return "It is high risk. Open it to approve it."
    if late is not None:
        return f"{named(late.sender)[:100] or 'Somebody'} wrote in this thread after the draft. Open it and read that."
    unseen = set(item.content.unseen)
    if item.rendered is None:
        return "It is too long for this page. Open it to approve it."
    if item.rendered.doubt:
        return "It could not be laid out with certainty. Open it to approve it."
    if "<img " in item.rendered.document:
        return "It has pictures, which this page does not show. Open it to approve it."
    if unseen & {"to", "subject"} or {"html", "markdown"} <= unseen:
        return "Not all of it is visible with this key. Open it to approve it."
    if any(line.more for line in item.fields) or len(item.rendered.links) > MAX_LINKS:
        return (
            "It has more recipients or links than a sheet shows. Open it to approve it."
        )
    return ""
