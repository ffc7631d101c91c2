"""The tables of emails, their attachments, and idempotency records. Only
`EmailQuerySet.move` changes the status of an email.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from email.message import EmailMessage, Message
from typing import Any, Self

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Count, Exists, F, OuterRef, Prefetch, Q, Sum
from django.db.models.functions import Now, TruncDate

from common.endings import EndedBy
from common.mail_addresses import clean_addresses, each_once
from common.postgres import one_of
from common.references import split_reference
from common.unique_keys import Json
from gateway.attachments import File
from gateway.errors import Conflict
from gateway.models.accounts import Account, ApiKey, Mailbox, UlidModel
from gateway.states import (
    AWAITING_DECISION,
    HIDDEN,
    WITHHELD,
    Change,
    Decision,
    Direction,
    GateTiming,
    Mode,
    Status,
    next_state,
)
from gateway.timestamps import iso

# Longer than the longest attempt to send (smtp.py bounds each of its steps), so that
# only a dead worker loses its lease.
OUTBOX_LEASE = timedelta(seconds=150)
# How long an email that has become due counts as being sent (`not_leaving`). By then,
# a worker has claimed it.
_SENDING_GRACE = timedelta(seconds=30)
# How many emails are loaded at a time by whoever walks through many.
_BATCH = 20
# What a quota counts: live mail that an agent sent, unless it was rejected or cancelled.
# Mail that could not be delivered counts too.
CHARGED = Q(direction=Direction.OUTBOUND, sandbox=False) & ~Q(
    status__in=(Status.REJECTED, Status.CANCELLED)
)


class EmailQuerySet(models.QuerySet["Email"]):
    """Queries of emails, and the one way to change a status."""

    def visible_to(self, key: ApiKey) -> Self:
        """Emails that this key may know of: of its account and its mailboxes.

        A sandbox key knows of sandbox mail, a live key of live mail, and a live key
        that may read held mail of both.
        """
        return key.limited(self.filter(account_id=key.account_id, **key.mail_filter()))

    def awaiting_decision(self) -> Self:
        """Held emails of both directions, oldest first, with all that a row of the
        pending list shows; uses the partial index email_awaiting_decision.
        """
        held = self.filter(status__in=AWAITING_DECISION).order_by("id")
        return held.with_mailbox().with_attachments().defer("original_html")

    def in_batches(self) -> Iterator[Email]:
        """Each email in the order of ids, loaded a few at a time.

        By keyset: server-side cursors do not work behind every pooler.
        """
        batch = list(self[:_BATCH])
        while batch:
            for email in batch:
                yield email
                # It and its prefetched files refer to each other, so that otherwise
                # its texts would stay until the garbage collector comes.
                email.markdown = ""
                email.html = None
            batch = list(self.filter(id__gt=email.pk)[:_BATCH])

    def received(self) -> Self:
        """Received emails."""
        return self.filter(direction=Direction.INBOUND)

    def readable_by(self, key: ApiKey) -> Self:
        """Without received mail that no person has approved, unless the key may read
        held mail.
        """
        if key.sees_held():
            return self
        return self.exclude(direction=Direction.INBOUND, status__in=WITHHELD)

    def named_by(self, message_ids: Iterable[str]) -> Self:
        """The emails with one of these ids in Message-ID, as we wrote it or as our mail
        server did.
        """
        names = [local_part(one) for one in message_ids]
        by_relay = Q(relay_id__in=[name for name in names if name])
        return self.filter(Q(message_id_header__in=message_ids) | by_relay)

    def since(self, email_id: str) -> Self:
        """What became readable after this message, in that order: mail that was held
        comes when it is let in. For an id that is no message, those with a greater id.
        """
        is_newer = Q(id__gt=email_id)
        if last := self.filter(pk=email_id).values("readable_at").first():
            is_newer = Q(readable_at__gt=last["readable_at"]) | (is_newer & Q(**last))
        return self.filter(is_newer).order_by("readable_at", "id")

    def in_sight(self) -> Self:
        """Without mail that lists show only if its status is asked for."""
        return self.exclude(status__in=HIDDEN)

    def in_thread(self, thread_id: str) -> Self:
        """The emails of one thread, newest first; uses the index email_of_thread."""
        return self.filter(thread_id=thread_id).order_by("-id")

    def charged_to(self, account: Account, since: datetime) -> Self:
        """Emails that count against an account's limits; uses the index
        email_charged.
        """
        return self.filter(CHARGED, account=account, created_at__gte=since)

    def by_day(
        self, moment: str, begin: datetime, end: datetime
    ) -> list[tuple[date, int]]:
        """Return for each day (UTC) of a period how many emails have their `moment`, a
        column, on it; days without any are left out. Uses an index of that column.
        """
        in_period = self.filter(**{f"{moment}__gte": begin, f"{moment}__lt": end})
        days = (
            in_period.annotate(day=TruncDate(moment, tzinfo=UTC))
            .order_by("day")
            .values_list("day")
        )
        return list(days.annotate(number=Count("pk")))

    def with_mailbox(self) -> Self:
        """Loads mailbox, account and the sender's key too, which answers and events
        name.
        """
        return self.select_related("mailbox", "account", "sent_by_key")

    def without_bodies(self) -> Self:
        """Loads no texts, which may be long."""
        return self.defer("markdown", "html", "original_html")

    def with_attachments(self) -> Self:
        """Loads the facts of attachments, without their bytes, in one query for all
        rows.
        """
        return self.prefetch_related(
            Prefetch("attachments", Attachment.objects.defer("content").order_by("id"))
        )

    def move(self, email: Email, change: Change, **fields: Any) -> bool:
        """Change the status by compare-and-set, together with `fields`. Returns False
        if the row has changed meanwhile.

        The queryset's own filters are part of the comparison. Raises InvalidTransition
        if the table of states does not allow the change.
        """
        target = next_state(email.status, change)
        if not self.filter(pk=email.pk, status=email.status).update(
            status=target, **fields
        ):
            return False
        email.status = target
        for name, value in fields.items():
            # Expressions, such as Now(), have their value only in the database.
            if not hasattr(value, "resolve_expression"):
                setattr(email, name, value)
        return True

    def scheduled(self) -> Self:
        """Emails that are to be sent, now or at their time, and unclaimed, or claimed by
        a worker that died before it offered the message.

        Without approved emails that hold_all or read_only blocks: no worker could send
        them.
        """
        return self.unclaimed().filter(
            ~_approved_but_blocked(), ~_closed(), status=Status.SCHEDULED
        )

    def in_outbox(self) -> Self:
        """Emails that a worker should send now."""
        return self.scheduled().filter(due_at__lte=Now())

    def waiting(self) -> Self:
        """Live emails that are due, or wait for the next try because the mail server did
        not take them; none that it may have, and none whose time has not come.
        """
        return self.scheduled().filter(sandbox=False).exclude(send_at__gt=Now())

    def of_unknown_fate(self, within: timedelta) -> Self:
        """Emails that the mail server was offered lately, and of which nobody knows
        whether it has them.
        """
        offered = Now() - within
        return self.filter(fate_unknown=True, data_attempted_at__gt=offered)

    def lost(self) -> Self:
        """Emails whose worker died after it began to offer the message: nobody knows
        whether the mail server has it.
        """
        return self.filter(
            status=Status.SCHEDULED,
            data_attempted_at__isnull=False,
            lease_until__lt=Now(),
        )

    def claim(self, pk: str) -> Email | None:
        """Take one email out of the outbox for one attempt. Returns None if it is not
        due or another worker has it.
        """
        claimed = (
            self.in_outbox()
            .filter(pk=pk)
            .update(attempts=F("attempts") + 1, lease_until=Now() + OUTBOX_LEASE)
        )
        return self.with_mailbox().get(pk=pk) if claimed else None

    def postpone(self, pk: str, seconds: float) -> bool:
        """Make a live email due later, without an attempt, because the mail server is
        too slow now. Returns False if it is not due now.
        """
        live = self.in_outbox().filter(pk=pk, sandbox=False)
        due_at = Now() + timedelta(seconds=seconds)
        return bool(live.update(due_at=due_at, cause="unreachable"))

    def leased_by(self, email: Email) -> Self:
        """The row, if `email`'s attempt holds the lease. A later attempt has another
        number, so a worker that was too slow finds no row.
        """
        return self.filter(
            pk=email.pk,
            status=Status.SCHEDULED,
            attempts=email.attempts,
            lease_until__gt=Now(),
        )

    def written_off(self, email: Email) -> Self:
        """The row, if `email`'s attempt was written off as lost while it was still
        waiting for the mail server.
        """
        return self.filter(
            pk=email.pk, status=Status.SENT, fate_unknown=True, attempts=email.attempts
        )

    def may_be_sent(self) -> Self:
        """Emails that are not gated, or approved; under `hold_all` approved after it
        was set; whose mailbox is neither closed, read_only nor, if approved, stopped;
        and whose approval has not ended.

        The conditions are subqueries and no joins: an update must check each row again
        after it has waited for the row's lock.
        """
        ungated = Q(gated=False) & ~_of_account(hold_all_at__isnull=False)
        approved = Q(decision=Decision.APPROVED) & ~_held_back()
        in_time = Q(leave_by=None) | Q(leave_by__gt=Now())
        read_only = _of_mailbox(oversight_mode=Mode.READ_ONLY)
        return self.filter(ungated | approved, in_time, ~_closed(), ~read_only)

    def attached_bytes(self, account_id: str) -> int:
        """Return the size of all files of an account."""
        with_files = self.filter(account_id=account_id, has_attachments=True)
        return with_files.aggregate(n=Sum("attachments__size"))["n"] or 0

    def waiting_in(self, closed: list[str]) -> Self:
        """Emails that wait in these closed mailboxes.

        In no order: with an order PostgreSQL would walk all emails by their ids,
        instead of using the partial indexes.
        """
        waiting = Q(status__in=AWAITING_DECISION) | Q(status=Status.SCHEDULED)
        return self.filter(waiting, mailbox_id__in=closed).unclaimed()

    def editable_as(self, email: Email) -> Self:
        """The row, if it is still scheduled, unclaimed and as `email` was read."""
        same = {
            name: getattr(email, name)
            for name in ("to", "cc", "bcc", "send_at", "gated", "decision")
        }
        return self.unclaimed().filter(pk=email.pk, status=Status.SCHEDULED, **same)

    def not_leaving(self) -> Self:
        """Without emails that were just released or approved to be sent at once.

        The approver sees that the email is being sent. Until a worker has had time to
        claim it, nobody else may be told that it was cancelled. Emails that wait
        longer, or were deferred by the mail server, can be cancelled again.
        """
        newly_due = Q(
            status=Status.SCHEDULED,
            attempts=0,
            due_at__lte=Now(),
            due_at__gt=Now() - _SENDING_GRACE,
        )
        return self.exclude(newly_due & ~_approved_but_blocked())

    def unclaimed(self) -> Self:
        """Emails that no worker holds, and that no worker may have sent."""
        is_free = Q(lease_until=None) | Q(lease_until__lt=Now())
        return self.filter(is_free, data_attempted_at=None)


def _of_account(**facts: Any) -> Exists:
    return Exists(Account.objects.filter(pk=OuterRef("account_id"), **facts))


def _of_mailbox(**facts: Any) -> Exists:
    return Exists(Mailbox.objects.filter(pk=OuterRef("mailbox_id"), **facts))


def _held_back() -> Q:
    # The account's hold_all was set after the approval was given, or the mailbox is
    # stopped.
    held = _of_account(hold_all_at__gte=OuterRef("pressed_at"))
    return held | _of_mailbox(is_stopped=True)


def _approved_but_blocked() -> Q:
    """Approved, but blocked by a later hold_all or because the mailbox is stopped, or
    read_only now.
    """
    read_only = Q(_of_mailbox(oversight_mode=Mode.READ_ONLY))
    return Q(decision=Decision.APPROVED) & (_held_back() | read_only)


def _closed() -> Q:
    # The mailbox or the account is deleted.
    return _of_account(is_active=False) | _of_mailbox(is_active=False)


def local_part(message_id: str) -> str:
    """Return the part of a message id before its @."""
    return message_id.strip("<>").partition("@")[0]


class AttachmentQuerySet(models.QuerySet["Attachment"]):
    def attach(self, email: Email, files: Sequence[File]) -> None:
        """Store the files of an email, sent or received."""
        self.bulk_create(
            self.model(
                email=email, size=len(file.content), sha256=file.sha256, **asdict(file)
            )
            for file in files
        )


class Email(UlidModel):
    """One email, sent or received. `status` is written only through
    EmailQuerySet.move.
    """

    # No indexes of their own: indexes below begin with these two columns, and each
    # index costs time for every message.
    account = models.ForeignKey(
        Account, models.CASCADE, related_name="+", db_index=False
    )
    mailbox = models.ForeignKey(
        Mailbox, models.CASCADE, related_name="emails", db_index=False
    )
    direction = models.CharField(max_length=8, choices=Direction)
    status = models.CharField(max_length=24, choices=Status)
    # Copied from the key that made it, and never changed: a sandbox message is not
    # delivered, whoever approves it.
    sandbox = models.BooleanField()
    sent_by_key = models.ForeignKey(
        ApiKey, models.RESTRICT, null=True, related_name="+"
    )
    created_at = models.DateTimeField()
    # For held mail that was received: when it was let in.
    readable_at = models.DateTimeField(db_default=Now())

    # What the recipient gets.
    from_address = models.CharField(max_length=254)
    from_name = models.CharField(max_length=200)
    # Of received mail also several, with commas.
    reply_to = models.TextField()
    to = ArrayField(models.CharField(max_length=254))
    cc = ArrayField(models.CharField(max_length=254), default=list)
    bcc = ArrayField(models.CharField(max_length=254), default=list)
    subject = models.CharField(max_length=998)
    markdown = models.TextField()
    html = models.TextField(null=True)
    # The HTML as its author handed it in, if simplifying changed it; and the changes,
    # as sentences.
    original_html = models.TextField(null=True)
    simplified = models.JSONField(default=list, db_default=[])
    # What the agent claims that it may do, sent as X-Agent-Identity.
    agent_identity = models.TextField(default="", db_default="")
    has_attachments = models.BooleanField(default=False)
    # What the mailbox adds. Null until approval or sending, when the mailbox's settings
    # of that moment are fixed here.
    additions = models.JSONField(null=True)
    # The fingerprint as it was computed last, and the basis for it: the fingerprint
    # that everything but the bodies had then. Writing a body empties the basis, by a
    # trigger.
    known_fingerprint = models.CharField(max_length=64, default="", db_default="")
    fingerprint_basis = models.CharField(max_length=64, default="", db_default="")
    message_id_header = models.CharField(max_length=300)
    # The name that our mail server gave it. Some servers put it into Message-ID.
    relay_id = models.CharField(max_length=100, default="", db_default="")
    in_reply_to = models.CharField(max_length=998)
    references = models.TextField()
    thread_id = models.CharField(max_length=40)
    # Hash of the bytes as received: if a mail server delivers them again, it is the
    # same email.
    received_sha256 = models.CharField(max_length=64)
    metadata = models.JSONField(default=dict)
    tags = models.JSONField(default=dict)
    # How the agent has marked received mail: spam, not_spam, or empty.
    user_label = models.CharField(max_length=8, db_default="")
    # The X-Request-Id of the request that made it, under which every log has it.
    trace = models.CharField(max_length=64, default="", db_default="")

    # Oversight.
    oversight_mode = models.CharField(max_length=12, choices=Mode)
    gated = models.BooleanField(default=False)
    send_at = models.DateTimeField(null=True)
    gate_timing = models.CharField(max_length=16, choices=GateTiming)
    decision = models.CharField(max_length=8, choices=Decision)
    decision_reason = models.TextField()
    # Data for the agent from the person who decided: `suggested_markdown`,
    # `replaced_by`, `changes`.
    feedback = models.JSONField(default=dict, db_default={})
    decided_at = models.DateTimeField(null=True)
    # When the person decided, which may be long before this gateway was told; and until
    # when an approved email may leave, null: without end. By the database's clock.
    pressed_at = models.DateTimeField(null=True)
    leave_by = models.DateTimeField(null=True)
    # Empty if it expired: nobody decided then.
    decided_by = models.CharField(max_length=200)
    # Also empty for what was decided before this column existed, unless it had expired.
    ended_by = models.CharField(
        max_length=10, choices=EndedBy, default="", db_default=""
    )
    decided_by_key = models.ForeignKey(
        ApiKey, models.RESTRICT, null=True, related_name="+"
    )
    # Until when it may be approved, as a reviewer's key has set it; null: without end.
    expires_at = models.DateTimeField(null=True)

    # Delivery. `due_at` and `lease_until` are times of the database's clock.
    due_at = models.DateTimeField(null=True)
    attempts = models.PositiveIntegerField(default=0)
    lease_until = models.DateTimeField(null=True)
    # Committed before the message's bytes are offered to the mail server. From here on
    # only the server's answer tells whether it has them, so an attempt that ends
    # without an answer is never repeated.
    data_attempted_at = models.DateTimeField(null=True)
    fate_unknown = models.BooleanField(default=False)
    last_error = models.TextField()
    # Why the mail server did not take it, as a code (common/waiting_mail.py).
    cause = models.CharField(max_length=12, default="", db_default="")
    sent_at = models.DateTimeField(null=True)
    delivered_at = models.DateTimeField(null=True)
    bounced_at = models.DateTimeField(null=True)
    bounce_type = models.CharField(max_length=40)
    # Recipients that our mail server refused, or mail servers after it: address to
    # [code, text].
    refused_recipients = models.JSONField(default=dict)
    # Whether its envelope sender is an address of its own (messages/content.py), to
    # which a report about it has to come.
    has_return_address = models.BooleanField(default=False, db_default=False)
    # What mail servers reported later, by recipient: {"action": ..., "status": ...,
    # "at": ...}.
    reported = models.JSONField(default=dict)

    objects = EmailQuerySet.as_manager()

    class Meta:
        constraints = [
            one_of("status", Status.values, "email_status_known"),
            one_of("direction", Direction.values, "email_direction_known"),
            one_of("oversight_mode", Mode.values, "email_mode_known"),
            one_of("decision", ["", *Decision.values], "email_decision_known"),
            # Nothing that is gated is sent without a recorded approval, whatever the
            # code does.
            models.CheckConstraint(
                condition=~Q(gated=True, status=Status.SENT)
                | Q(decision=Decision.APPROVED),
                name="email_gated_leaves_approved",
            ),
            models.UniqueConstraint(
                fields=["mailbox", "received_sha256"],
                condition=~Q(received_sha256=""),
                name="email_received_once",
            ),
        ]
        indexes = [
            # The pending list of an account, oldest first; small, because decided mail
            # leaves it.
            models.Index(
                fields=["account", "id"],
                condition=Q(status__in=AWAITING_DECISION),
                name="email_awaiting_decision",
            ),
            # The outbox: what is due next.
            models.Index(
                fields=["due_at"],
                condition=Q(status=Status.SCHEDULED),
                name="email_outbox",
            ),
            models.Index(
                fields=["data_attempted_at"],
                condition=Q(fate_unknown=True),
                name="email_of_unknown_fate",
            ),
            # The list of a mailbox, newest first, also by cursor.
            models.Index(fields=["mailbox", "-id"], name="email_of_mailbox"),
            # What a mailbox got since a message.
            models.Index(
                fields=["mailbox", "readable_at", "id"], name="email_readable_since"
            ),
            models.Index(fields=["account", "thread_id", "id"], name="email_of_thread"),
            # Finds the message that an answer refers to.
            models.Index(fields=["message_id_header"], name="email_by_message_id"),
            models.Index(
                fields=["relay_id"], condition=~Q(relay_id=""), name="email_by_relay_id"
            ),
            # Quotas count what an account sent in a month, at each message: from this
            # index alone.
            models.Index(
                fields=["account", "created_at"],
                condition=CHARGED,
                name="email_charged",
            ),
            # Usage counts what was received, sent and decided in a period.
            models.Index(
                fields=["account", "created_at"],
                condition=Q(direction=Direction.INBOUND),
                name="email_received_in_period",
            ),
            models.Index(
                fields=["account", "sent_at"],
                condition=~Q(sent_at=None),
                name="email_sent_in_period",
            ),
            models.Index(
                fields=["account", "decided_at"],
                condition=~Q(decided_at=None),
                name="email_decided_in_period",
            ),
        ]

    def ids(self) -> Json:
        """Return the id under each of the names that clients read it by."""
        return dict.fromkeys(("id", "email_id", "message_id"), self.pk)

    def addressees(self) -> list[str]:
        """Return the recipients that its author named, without those that the mailbox
        adds.
        """
        return each_once([*self.to, *self.cc, *self.bcc])

    def authors(self) -> list[str]:
        """Return to whom an answer to received mail goes: to Reply-To, or to From if
        that names the mailbox itself. Empty if it is not understood.
        """
        for written in (self.reply_to, self.from_address):
            try:
                addresses = clean_addresses(written)
            except ValueError:
                return []
            if others := [one for one in addresses if not self.mailbox.takes(one)]:
                return others
        return []

    def files(self) -> Iterable[Attachment]:
        """Return its files, without a query if it has none."""
        return self.attachments.all() if self.has_attachments else ()

    def attach_files_to(self, message: EmailMessage) -> None:
        """Attach its files to a MIME message, pictures within the text to its HTML."""
        html = message.get_body(("html",))
        for file in self.files():
            header = Message()
            header["Content-Type"] = file.content_type
            main = header.get_content_maintype()
            sub = header.get_content_subtype()
            # Some programs show this name instead of the file's own.
            header.del_param("name")
            # A file that is itself a message is sent as plain bytes: it must arrive
            # byte for byte.
            if main in ("message", "multipart"):
                main = "application"
                sub = "octet-stream"
            attach = message.add_attachment
            options: dict[str, Any] = {}
            if html and file.content_id:
                attach = html.add_related
                options = {"cid": f"<{file.content_id}>", "disposition": "inline"}
            attach(
                bytes(file.content),
                maintype=main,
                subtype=sub,
                filename=file.name,
                params=dict((header.get_params() or [])[1:]),
                **options,
            )

    def told_reason(self) -> dict[str, str | None]:
        """Return the reason of the decision in two parts: the words, which programs
        quote to people, and the desk's reference at their end.
        """
        words, reference = split_reference(self.decision_reason)
        return {"reason": words or None, "decision_reference": reference or None}

    def outcome(self) -> Json:
        """Return the status and the decision, if there is one, as errors, events and
        reads of a decided email show them.
        """
        facts: Json = {"email_id": self.pk, "status": self.status}
        if self.relay_id:
            # The mail server's name for it, which its log and bounces have.
            facts["relay_id"] = self.relay_id
        if self.decision:
            facts |= {
                "decision": self.decision,
                **self.told_reason(),
                "decided_at": iso(self.decided_at),
                "decided_by": self.decided_by or None,
                "ended_by": self.ended_by or None,
                **self.feedback,
            }
        return facts

    def conflict(self, sentence: str, **facts: Any) -> Conflict:
        """Return the error that the state of the email does not allow a request, which
        says what became of it.
        """
        return Conflict(sentence, **facts, **self.outcome())


class Attachment(models.Model):
    """One attached file. `content` is loaded only if the bytes are needed."""

    email = models.ForeignKey(Email, models.CASCADE, related_name="attachments")
    name = models.CharField(max_length=255)
    content_type = models.CharField(max_length=127)
    size = models.PositiveIntegerField()
    sha256 = models.CharField(max_length=64)
    content = models.BinaryField()
    content_id = models.CharField(max_length=100, default="", db_default="")

    objects = AttachmentQuerySet.as_manager()

    class Meta:
        constraints = [
            # The API addresses attachments by name.
            models.UniqueConstraint(
                fields=["email", "name"], name="attachment_name_once_an_email"
            )
        ]


class IdempotencyRecord(models.Model):
    """Remembers which email was made by a request with an idempotency key, or without a
    key by a request with the same content.
    """

    class Operation(models.TextChoices):
        SEND = "send"
        REPLY = "reply"
        # No key was given: the content itself is the key, for a minute.
        CONTENT = "content"

    # No index of its own: the unique index below begins with this column.
    mailbox = models.ForeignKey(
        Mailbox, models.CASCADE, related_name="+", db_index=False
    )
    sandbox = models.BooleanField()
    operation = models.CharField(max_length=8, choices=Operation)
    key = models.CharField(max_length=200)
    email = models.ForeignKey(Email, models.CASCADE, related_name="+")
    digest = models.CharField(max_length=64)
    # When it does not count any more.
    expires_at = models.DateTimeField()

    class Meta:
        constraints = [
            # Decides between two requests with the same key: the second waits here for
            # the first.
            models.UniqueConstraint(
                fields=["mailbox", "sandbox", "operation", "key"],
                name="idempotency_key_once",
            ),
            one_of(
                "operation", ["send", "reply", "content"], "idempotency_operation_known"
            ),
        ]
        indexes = [
            # Clearing out by age.
            models.Index(fields=["expires_at"], name="idempotency_expiry")
        ]
