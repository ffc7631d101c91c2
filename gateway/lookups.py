"""Finds what a request names, as far as its key may see it; everything else is a 404."""

from gateway.errors import Invalid, NotFound
from gateway.models import ApiKey, Email, Mailbox


def mailbox_named(key: ApiKey, name: str) -> Mailbox:
    """Return the mailbox with this id or address. Raises NotFound."""
    mailbox = Mailbox.objects.visible_to(key).named(name).first()
    if mailbox is None:
        raise NotFound("There is no such mailbox in this account.", code="unknown_mailbox")
    return mailbox


def mailbox_named_or_only(key: ApiKey, name: str) -> Mailbox:
    """Return the mailbox named, or the only one there is. Raises NotFound or Invalid."""
    if name:
        return mailbox_named(key, bare_address(name))
    mailboxes = list(Mailbox.objects.visible_to(key)[:2])
    if len(mailboxes) != 1:
        raise Invalid("from: say which mailbox to send from.", field="from")
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
