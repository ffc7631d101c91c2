"""Who may read which message, and what a key sees in a list of one that it may not read.

Received mail of a gated_all mailbox must not reach an agent before a person has let it in: it may hold instructions.
"""

from typing import Any

from gateway import shapes
from gateway.errors import Forbidden
from gateway.models import ApiKey, Email
from gateway.states import NOT_LET_IN, Change, Direction, Status

# Every text in a row that whoever wrote the message chose freely, but for the one address that it is from: lists of
# addresses can hold whole sentences, too.
_WITHHELD: dict[str, Any] = {"subject": "", "from_name": "", "message_id_header": None, "in_reply_to": None}
_WITHHELD |= {"reply_to": None, "cc": [], "cc_addresses": [], "metadata": {}}


def may_read(key: ApiKey, email: Email) -> bool:
    """Whether the key may read what the message says."""
    kept = email.direction == Direction.INBOUND and email.status in NOT_LET_IN
    return not kept or key.sees_held()


def check_may_read(key: ApiKey, email: Email) -> None:
    """Raise Forbidden for a message that nobody has let in."""
    if may_read(key, email):
        return
    if email.status == Status.REJECTED:
        raise Forbidden("This message was rejected and cannot be read.", code="not_let_in")
    raise Forbidden("This message waits for approval and cannot be read before.", code="awaiting_approval")


def open_email(key: ApiKey, email: Email) -> None:
    """Let the key read the message; an unread one is read from then on. Raises Forbidden."""
    check_may_read(key, email)
    if email.status == Status.UNREAD:
        Email.objects.move(email, Change.OPEN)


def row(key: ApiKey, email: Email, *, flat: bool = False) -> dict[str, Any]:
    """Return the message as a list shows it to the key."""
    told = shapes.summary(email, flat=flat)
    if may_read(key, email):
        return told
    own = email.mailbox.address
    return told | _WITHHELD | {"to": shapes.address_list([own], flat=flat), "to_addresses": [own], "recipient": own}
