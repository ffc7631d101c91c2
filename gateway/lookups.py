"""Finds what a request names, as far as its key may see it; everything else is a 404."""

from gateway.errors import Forbidden, Invalid, NotFound
from gateway.models import ApiKey, Email, Mailbox
from gateway.querysets.emails import EmailQuerySet


def mailbox_named(key: ApiKey, name: str) -> Mailbox:
    """Return the mailbox with this id or address. Raises NotFound."""
    mailbox = Mailbox.objects.named(name, key=key)
    if mailbox is None:
        raise NotFound(
            "There is no such mailbox in this account, or not for this key. GET /v1/mailboxes lists them.",
            code="unknown_mailbox",
        )
    return mailbox


def mailbox_named_or_only(key: ApiKey, name: str, *, field: str = "from") -> Mailbox:
    """Return the mailbox named, or the only one there is. Raises NotFound, or Invalid about `field`."""
    if name:
        return mailbox_named(key, bare_address(name))
    mailboxes = list(Mailbox.objects.visible_to(key)[:2])
    if len(mailboxes) != 1:
        raise Invalid(f"{field}: say which mailbox, by its address or id.", field=field)
    mailboxes[0].account = key.account
    return mailboxes[0]


def bare_address(name: str) -> str:
    """Return `support@x.example` out of `Support <support@x.example>`; anything else as it is."""
    return name.rpartition("<")[2].rstrip("> ") if name.rstrip().endswith(">") else name


def email_named(key: ApiKey, email_id: str, *, mailbox: Mailbox | None = None) -> Email:
    """Return the email with this id, in `mailbox` where one is given. Raises NotFound."""
    emails = Email.objects.visible_to(key).with_mailbox().with_attachments()
    if mailbox is not None:
        emails = emails.filter(mailbox=mailbox)
    email = emails.filter(pk=email_id).first()
    if email is None:
        raise NotFound("There is no such message in this account.")
    return email


def check_unlimited(key: ApiKey) -> None:
    """Raise Forbidden if the key is limited to some mailboxes: what follows is about the whole account."""
    if key.mailbox_ids:
        raise Forbidden(
            "This key is limited to some mailboxes, and this concerns the whole account.", code="limited_key"
        )


def newest_in_thread(key: ApiKey, thread_id: str, *, mailbox: Mailbox | None = None) -> Email:
    """Return the message of a thread that an answer is for: the newest received, else the newest. Raises NotFound."""
    emails = thread_named(key, thread_id, mailbox=mailbox)
    email = emails.received().first() or emails.first()
    if email is None:
        raise NotFound("There is no such thread in this account.", code="unknown_thread")
    return email


def thread_named(key: ApiKey, thread_id: str, *, mailbox: Mailbox | None = None) -> EmailQuerySet:
    """Return what the key may read of a thread, newest first; possibly nothing."""
    emails = Email.objects.visible_to(key).readable_by(key).in_sight().in_thread(thread_id).with_mailbox()
    return emails.filter(mailbox=mailbox) if mailbox is not None else emails
