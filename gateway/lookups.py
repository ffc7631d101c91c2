"""Finds the rows that a request names, among those that its key may see; and says
whether a key may read the content of a message.

What a key may not see is answered with 404. Received mail of a gated_all mailbox must
not reach an agent before a person has approved it: it may hold instructions to the
agent.
"""

from typing import TypeVar

from django.core import signing
from django.db.models import Exists, Model, OuterRef, QuerySet

from common.ascii import lowered, trimmed
from common.mail_addresses import clean_address, without_tag
from gateway.errors import Forbidden, Invalid, NotFound
from gateway.models import (
    Allowlist,
    ApiKey,
    Attachment,
    Email,
    EmailQuerySet,
    Mailbox,
    Scope,
)
from gateway.states import WITHHELD, Change, Direction, Status

Row = TypeVar("Row", bound=Model)
# Seconds for which a link to a file works.
LASTS = 3600
_SALT = "gateway.file_links"
# Most mailboxes have no list in force, and a send then asks for none. Built once, since
# building it took as long as asking.
_MAILBOXES = Mailbox.objects.annotate(
    has_lists=Exists(
        Allowlist.objects.filter(mailbox=OuterRef("pk")).exclude(mode="off")
    )
)


def first_or_404(rows: QuerySet[Row], what: str, code: str = "") -> Row:
    """Return the first of `rows`. Raises NotFound, with a sentence that the account has
    no such `what`.
    """
    row = rows.first()
    if not row:
        raise NotFound(f"There is no such {what} in this account.", code=code)
    return row


def mailbox_named(key: ApiKey, name: str) -> Mailbox:
    """Return the mailbox with this id or address, if the key may use it. Raises
    NotFound.
    """
    named = {"address": lowered(trimmed(name))} if "@" in name else {"pk": name}
    try:
        mailbox = _MAILBOXES.visible_to(key).get(**named)
    except Mailbox.DoesNotExist:
        raise NotFound(
            "There is no such mailbox in this account, or this key may not use it. GET /v1/mailboxes lists them.",
            code="unknown_mailbox",
        ) from None
    # The key's account is loaded already; this saves a query.
    mailbox.account = key.account
    return mailbox


def mailbox_for(address: str) -> Mailbox | None:
    """Return the active mailbox that takes mail for `address`, or None. The mailbox
    name@ also takes mail for name+tag@, if that is no mailbox itself.
    """
    try:
        whole = clean_address(address).lower()
    except ValueError:
        return None
    mailboxes = Mailbox.objects.select_related("account").filter(
        address__in={whole, without_tag(whole)}
    )
    # The mailbox with the exact address wins, even if it is closed: its mail must not
    # reach another mailbox.
    mailbox = max(mailboxes, key=lambda found: found.address == whole, default=None)
    return (
        mailbox if mailbox and mailbox.is_active and mailbox.account.is_active else None
    )


def mailbox_named_or_only(key: ApiKey, name: str, *, field: str = "from") -> Mailbox:
    """Return the mailbox with this id or address; without a name, the only mailbox that
    the key may use. Raises NotFound, or Invalid about `field` if there is not exactly
    one.
    """
    if name:
        return mailbox_named(key, bare_address(name))
    mailboxes = list(Mailbox.objects.visible_to(key)[:2])
    if len(mailboxes) != 1:
        raise Invalid(f"{field}: give the address or id of a mailbox.")
    mailboxes[0].account = key.account
    return mailboxes[0]


def bare_address(name: str) -> str:
    """Return `support@x.example` for `Support <support@x.example>`; other text
    unchanged.
    """
    return name.rpartition("<")[2].rstrip("> ") if name.rstrip().endswith(">") else name


def email_named(
    key: ApiKey, email_id: str, mailbox: Mailbox | None = None, *, lock: bool = False
) -> Email:
    """Return the email with this id, in `mailbox` if one is given; its row is locked if
    `lock` says so. Raises NotFound.
    """
    emails = Email.objects.visible_to(key).with_mailbox().with_attachments()
    if mailbox:
        emails = emails.filter(mailbox=mailbox)
    if lock:
        emails = emails.select_for_update(of=("self",))
    return first_or_404(emails.filter(pk=email_id), "message")


def check_unlimited(key: ApiKey) -> None:
    """Raise Forbidden if the key is limited to some mailboxes; for calls that concern
    the whole account.
    """
    if key.mailbox_ids:
        raise Forbidden(
            "This key is limited to some mailboxes, but this needs the whole account.",
            code="limited_key",
        )


def thread_named(key: ApiKey, thread_id: str, mailbox: Mailbox | None) -> EmailQuerySet:
    """Return the emails of a thread that the key may read, newest first; possibly
    none.
    """
    emails = Email.objects.visible_to(key).readable_by(key).in_sight()
    if mailbox:
        emails = emails.filter(mailbox=mailbox)
    return emails.in_thread(thread_id).with_mailbox()


def may_read(key: ApiKey, email: Email) -> bool:
    """Whether the key may read the content of the message."""
    withheld = email.direction == Direction.INBOUND and email.status in WITHHELD
    return not withheld or key.sees_held()


def check_may_read(key: ApiKey, email: Email) -> None:
    """Raise Forbidden if the key may not read the content of the message."""
    if may_read(key, email):
        return
    if email.status in (Status.REJECTED, Status.CANCELLED):
        raise Forbidden(
            f"This message was {email.status} and cannot be read.", code="not_let_in"
        )
    raise Forbidden(
        "This message is waiting for approval and cannot be read until then.",
        code="awaiting_approval",
    )


def open_email(key: ApiKey, email: Email) -> None:
    """Check that the key may read the message, and mark unread mail as read unless it
    is a reviewer's key. Raises Forbidden.
    """
    check_may_read(key, email)
    if email.status == Status.UNREAD and not key.sees_held():
        Email.objects.move(email, Change.OPEN)


def link_token(key: ApiKey, file: Attachment) -> str:
    """Return the last part of a link by which `file` can be fetched without a key."""
    return signing.dumps([key.pk, file.pk], salt=_SALT)


def file_of_token(token: str) -> Attachment:
    """Return the file that a link is for, with its bytes. Raises Forbidden if the link
    has expired or is forged, or if its key has no access any more, or NotFound.
    """
    try:
        key_id, file_id = signing.loads(token, salt=_SALT, max_age=LASTS)
    except (signing.BadSignature, ValueError, TypeError):
        raise Forbidden(
            "This link has expired, or was not issued by this gateway. Ask for a new one.",
            code="invalid_link",
        ) from None
    key = ApiKey.objects.filter(pk=key_id, account__is_active=True).first()
    if not key or not key.is_active or not key.may(Scope.READ):
        raise Forbidden(
            "The key that requested this link no longer has access.", code="link_ended"
        )
    emails = Email.objects.visible_to(key).filter(mailbox__is_active=True)
    return first_or_404(Attachment.objects.filter(pk=file_id, email__in=emails), "file")
