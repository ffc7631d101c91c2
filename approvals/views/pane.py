"""What the message pane says beyond the rows: the address lines with their coverage, and what approving will do."""

from dataclasses import dataclass

from approvals.models import Message
from common.fingerprint import Content, normalise_address


@dataclass(frozen=True)
class Field:
    """One address line. Not `covered`: the key of this connection does not show the field, which is not "empty"."""

    label: str
    values: tuple[str, ...]
    covered: bool = True


def address_fields(content: Content | None, message: Message) -> list[Field]:
    """Return the address lines, whole; those that are known to be empty are left out."""
    if content is None:
        return [Field("From", (message.sender,) if message.sender else ()), Field("To", tuple(message.recipients))]
    rows = [
        ("From", "from", (content.sender,)),
        ("Reply-To", "reply_to", (content.reply_to,) if content.reply_to else ()),
        ("To", "to", content.to),
        ("Cc", "cc", content.cc),
        ("Bcc", "bcc", content.bcc),
    ]
    fields = [Field(label, values, name in content.coverage) for label, name, values in rows]
    return [field for field in fields if field.values or not field.covered]


def approve_label(content: Content | None, message: Message) -> str:
    """Return the words on the button: what happens when it is pressed, and to how many."""
    if message.direction == "inbound":
        return "Release to the agent"
    if content is None:
        return "Approve"
    added = [content.additions.get(name, "") for name in ("auto_cc", "auto_bcc")]
    copies = [one for addresses in added for one in addresses.split(",") if one.strip()]
    people = len({normalise_address(one) for one in (*content.to, *content.cc, *content.bcc, *copies)})
    least = "" if {"cc", "bcc"} <= set(content.coverage) else "at least "
    verb = "Approve and schedule" if content.send_at else "Approve and send"
    return f"{verb} to {least}{people} {'person' if people == 1 else 'people'}"
