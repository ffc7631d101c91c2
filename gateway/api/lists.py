"""Lists: their filters, and pages by cursor. A cursor is the id of the last row; ids
are in order of creation.
"""

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Any

from django.db.models import QuerySet
from pydantic import BaseModel, BeforeValidator, Field, field_validator

from common.identifiers import CROCKFORD
from gateway.api.bodies import MailboxName, ShortText, none_if_empty
from gateway.errors import Invalid
from gateway.models.emails import EmailQuerySet
from gateway.states import Direction, Status
from gateway.timestamps import parse_loosely

_ID = re.compile(rf"[0-7][{CROCKFORD}]{{25}}")
_COUNT = re.compile(r"[0-9]{1,18}")
_NUMBER = re.compile(r"-?[0-9]{1,40}")
MAX_OFFSET = 1_000_000


def clamp(
    value: str | None, *, default: int, most: int, least: int = 1, name: str = "limit"
) -> int:
    """Return a number between `least` and `most`. Raises Invalid for what is none."""
    if not value:
        return default
    if not _NUMBER.fullmatch(value):
        raise Invalid(f"{name}: must be a whole number.", field=name)
    return max(least, min(int(value), most))


def read_cursor(value: str | None, *, form: re.Pattern[str] = _ID) -> str | None:
    """Return the id in a cursor. Raises Invalid for what cannot be one."""
    if not value:
        return None
    if not form.fullmatch(value):
        raise Invalid("cursor: was not returned by this list.", field="cursor")
    return value


def cut(rows: QuerySet[Any], limit: int | None) -> tuple[Sequence[Any], str | None]:
    """Return the page of at most `limit` rows, all of them for None, and the cursor of
    the next page.
    """
    if limit is None:
        return list(rows), None
    page = list(rows[: limit + 1])
    return page[:limit], str(page[limit - 1].pk) if len(page) > limit else None


class PageFilters(BaseModel):
    """The parameters of every list. Text, because an empty value means none, and a
    large number is clamped.
    """

    limit: str = ""
    cursor: str = ""


def page_of(
    rows: QuerySet[Any],
    name: str,
    shape: Callable[[Any], dict[str, Any]],
    filters: PageFilters,
    *,
    default: int,
    most: int,
    numbered: bool = False,
) -> dict[str, Any]:
    """Return one page of `rows`, newest first, in the given shape under `name`, and the
    cursor of the next.

    Ids of `numbered` rows are integers.
    """
    if before := read_cursor(filters.cursor, form=_COUNT if numbered else _ID):
        rows = rows.filter(pk__lt=before)
    page, following = cut(rows, clamp(filters.limit, default=default, most=most))
    return {name: [shape(row) for row in page], "cursor": following}


_MaybeStatus = Annotated[Status | None, BeforeValidator(none_if_empty)]
_MaybeDirection = Annotated[Direction | None, BeforeValidator(none_if_empty)]
_MaybeFlag = Annotated[bool | None, BeforeValidator(none_if_empty)]
_MaybeMoment = Annotated[
    datetime | None,
    BeforeValidator(lambda value: parse_loosely(value) if value else None),
]


class ListFilters(PageFilters):
    """The parameters of a mailbox's list."""

    status: _MaybeStatus = None
    direction: _MaybeDirection = None
    sender: ShortText = ""
    subject_contains: ShortText = ""
    date_after: _MaybeMoment = None
    date_before: _MaybeMoment = None
    has_attachments: _MaybeFlag = None
    since_id: ShortText = ""
    offset: str = ""

    def page_size(self) -> int:
        """Return how many rows a page has."""
        return clamp(self.limit, default=20, most=100)

    def apply(self, emails: EmailQuerySet) -> EmailQuerySet:
        """Narrow and order `emails`. `cursor` wins over `offset`; `since_id` turns the
        order round.
        """
        emails = self._narrow(emails)
        cursor = read_cursor(self.cursor)
        if since := self.since_id:
            # 0 stands for the beginning.
            if since != "0" and not _ID.fullmatch(since):
                raise Invalid(
                    "since_id: must be the id of a message, or 0.", field="since_id"
                )
            return emails.filter(id__gt=max(since, cursor or "")).order_by("id")
        if cursor:
            return emails.filter(id__lt=cursor).order_by("-id")
        start = clamp(self.offset, default=0, least=0, most=MAX_OFFSET, name="offset")
        ordered = emails.order_by("-id")
        return ordered[start : start + self.page_size() + 1] if start else ordered

    @field_validator("status")
    @classmethod
    def _is_listed(cls, status: Status | None) -> Status | None:
        # An internal state that lasts a moment; MultiMail does not accept it here
        # either.
        if status == Status.PENDING_SCAN:
            raise ValueError("messages cannot be listed by pending_scan.")
        return status

    def _narrow(self, emails: EmailQuerySet) -> EmailQuerySet:
        wanted: dict[str, Any] = {
            "status": self.status,
            "direction": self.direction,
            "from_address__icontains": self.sender or None,
            "subject__icontains": self.subject_contains or None,
            "created_at__gt": self.date_after,
            "created_at__lt": self.date_before,
            "has_attachments": self.has_attachments,
        }
        emails = emails.filter(
            **{name: value for name, value in wanted.items() if value is not None}
        )
        return emails.in_sight() if self.status is None else emails


class InboxFilters(ListFilters):
    """The parameters of `check_inbox`: those of a list, whose mailbox is named here,
    and `unread`.
    """

    mailbox: MailboxName = ""
    unread: _MaybeFlag = None

    def _narrow(self, emails: EmailQuerySet) -> EmailQuerySet:
        """Take unread mail, unless a status is named or `unread=false` asks for all
        that can be read.
        """
        emails = super()._narrow(emails)
        if self.status is not None:
            return emails
        return emails.filter(
            status__in=(Status.UNREAD, Status.READ)
            if self.unread is False
            else (Status.UNREAD,)
        )


class ZapierFilters(InboxFilters):
    """The parameters of Zapier's inbox: what can be read, whether it was or not."""

    unread: _MaybeFlag = False

    def page_size(self) -> int:
        """Return how many rows a page has."""
        return clamp(self.limit, default=25, most=100)


class SpamFilters(ListFilters):
    """The parameters of the list of spam, of all mailboxes."""

    status: Annotated[
        _MaybeStatus, BeforeValidator(lambda value: value or Status.SPAM_QUARANTINED)
    ] = Status.SPAM_QUARANTINED


class PendingFilters(PageFilters):
    """The parameters of the pending list."""

    email_id: Annotated[str, Field(max_length=64)] = ""
    mailbox: MailboxName = ""
    only: Annotated[
        str,
        Field(
            max_length=20, description="`pending`: give the list under this name alone"
        ),
    ] = ""

    def page_size(self) -> int | None:
        """Return how many rows a page has; None when all are asked for."""
        return (
            clamp(self.limit, default=100, most=500)
            if self.limit or self.cursor
            else None
        )
