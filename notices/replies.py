"""Replies to mails of notices: what a person writes becomes their comment on the message.
It decides nothing.
"""

import logging
import re
from typing import Any
from uuid import UUID

from approvals.collaboration import MAX_COMMENT, add_comment
from approvals.errors import InvalidInput
from mirror.errors import DeskError
from people.models import Person

log = logging.getLogger(__name__)
# How the mail begins that a reply quotes. Before it, a mail program says in its language
# whose mail it is, by name and address, on one line or two.
_QUOTED = re.compile(
    r"^(?:>|-- $|__|-+ ?Original|.*wrote:$|[^@\n]*(?:\n<[^@\n]*)?@[^>\n]*>[^:\n]{0,20}:$)",
    re.MULTILINE,
)


def on_replied(name: str, author: str, text: str, **_more: Any) -> None:
    """Store what a person wrote above the mail that they quote as their comment, if they
    may comment now. The name is that of the reply address, which only their mail has;
    whoever else got it cannot use it.
    """
    public_id, _, key = name.partition("-")
    person = Person.objects.filter(pk=key, email__iexact=author).first()
    text = _QUOTED.split(text)[0].strip()[:MAX_COMMENT]
    try:
        if not (person and text):
            raise InvalidInput("It has no words, or is from somebody else.")
        # The same mail may come twice.
        if not person.comments.filter(message__public_id=public_id, text=text).exists():
            add_comment(
                message=UUID(public_id), actor=person.actor(surface="mail"), text=text
            )
    except DeskError as error:
        log.warning("reply not stored", extra={"reason": str(error)})
