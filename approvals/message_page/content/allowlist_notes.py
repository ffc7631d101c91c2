"""Says beside each recipient what the allowlists say to it now: which entry allows it, or that none does.

It is asked anew each time that a letter is shown, and never comes from its findings, which stay as they were.
"""

from collections.abc import Sequence
from dataclasses import replace

from approvals.message_page.content.addresses import Address, Field
from mirror.models import Message
from people.actors import Actor, Role
from policy.allowlists.judgement import Judged, Listed, allowable
from risk.addresses import bare_address

_LINES = ("To", "Cc", "Bcc")
# So many addresses are offered to be allowed at once; more are no oversight of somebody who knew them.
OFFERED = 5


def with_lists(fields: Sequence[Field], judged: Judged) -> list[Field]:
    """Return address lines with what the lists say to each recipient."""
    passed = {_shown_as(address): listed for address, listed in judged.passed.items()}
    refused = {_shown_as(address) for address in judged.outsiders}
    watched = {_shown_as(address) for address in judged.strangers}
    return [
        replace(field, addresses=tuple(_told(one, passed, refused, watched) for one in field.addresses))
        if field.label in _LINES
        else field
        for field in fields
    ]


def to_allow(message: Message, judged: Judged, *, actor: Actor) -> list[str]:
    """Return the refused recipients that this person may allow; nobody's of a message whose mailbox is not known."""
    mailbox = message.mailbox_id
    if mailbox is None or not actor.is_a(Role.ADMIN, connection=message.connection_id, mailbox=mailbox):
        return []
    return [address for address in judged.outsiders if allowable(address)][:OFFERED]


def _told(one: Address, passed: dict[str, Listed], refused: set[str], watched: set[str]) -> Address:
    key = one.value.lower()
    if key in refused:
        return replace(one, marks=(*one.marks, ("high", "Off the allowlist")))
    if key in watched:
        return replace(one, marks=(*one.marks, ("notice", "Off the allowlist, which only watches")))
    listed = passed.get(key)
    return replace(one, allowed_by=_words(listed)) if listed else one


def _words(listed: Listed) -> str:
    return f"{listed.pattern} on the list for {listed.label}" if listed.pattern else listed.label


def _shown_as(recipient: str) -> str:
    """Return a recipient as the address lines have it."""
    address = bare_address(recipient)
    return (address if "@" in address else recipient.strip()).lower()
