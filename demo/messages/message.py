"""The dataclasses of the demo's messages, and the functions that read them from text and
fill the blanks in it. Nothing here sends anything.

All recipients have domains that RFC 2606 and RFC 6761 reserve, so nothing can reach a
real person by mistake.
"""

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from email import message_from_string
from pathlib import Path
from string import Template

from common.demo import SUPPORT
from common.tables import table_rows

# The files that messages attach. Two are not what they look like: not-a-program.txt
# begins as programs for Windows do, so the desk takes it for one; and not-a-pdf.html, a
# page that asks for a password, is attached with the name and type of a PDF.
ATTACHMENTS = Path(__file__).parent / "attachments"


@dataclass(frozen=True)
class Attachment:
    """A file that is attached to a message."""

    name: str
    content: bytes
    content_type: str


@dataclass(frozen=True)
class Question:
    """What a customer writes before the message that answers it; and, in `afterwards`,
    what they write while that answer waits for approval.
    """

    sender: str
    name: str
    subject: str
    body: str
    afterwards: str


@dataclass(frozen=True)
class Message:
    """One message of the small company that the demo plays. Words such as `$invoice` in
    its texts are blanks.

    Several addresses are one text, with commas between them.
    """

    name: str
    to: str
    subject: str
    body: str
    why: str
    attachments: list[Attachment]
    # What the metadata says of the Discord command by which somebody asked for it.
    origin: dict[str, str] | None
    # The question that the message answers, if it answers one.
    question: Question | None
    from_second_mailbox: bool
    # Whether it asks to be sent without approval, which only the second mailbox allows.
    unasked: bool
    cc: str = ""
    bcc: str = ""


def blanks(sequence: int, now: datetime) -> dict[str, str]:
    """Return what to fill into the blanks of message number `sequence`. For the same
    number and day this is always the same.
    """
    chance = random.Random(sequence)
    due = now + timedelta(days=14)
    meeting = _weekday(now + timedelta(days=2 + chance.randrange(5)))
    incident = _weekday(now - timedelta(days=4))
    last_month = now.replace(day=1) - timedelta(days=1)
    return {
        "invoice": str(2180 + sequence),
        "order": str(4471 + sequence * 3),
        "ticket": str(90210 + sequence * 7),
        "amount": f"{chance.randrange(180, 4900):,}.{chance.choice(('00', '50', '90'))}",
        "due": f"{due.day} {due:%B}",
        "today": f"{now.day} {now:%B}",
        "month": f"{last_month:%B}",
        "weekday": f"{meeting:%A}",
        "meeting": f"{meeting.day} {meeting:%B}",
        "past_weekday": f"{incident:%A}",
        "clock": f"{chance.randrange(9, 16):02d}:{chance.choice(('00', '15', '30'))}",
    }


def _weekday(day: datetime) -> datetime:
    """Return the day if it is Monday to Thursday, otherwise the next Monday."""
    return day if day.weekday() < 4 else day + timedelta(days=7 - day.weekday())


def fill_in(text: str, values: dict[str, str]) -> str:
    """Return the text with its blanks filled. Raises KeyError for an unknown blank,
    which is a mistake in the message.
    """
    return Template(text).substitute(values)


# Who asked in Discord: the user and their id, the channel and the server. Cleo's channel
# is given by its id, as in the program on MultiMail's page about Discord bots. The desk
# posts to it as to a channel given by name.
_NAMES, *_ROWS = table_rows(f"""
name     | discord_user | discord_user_id    | discord_channel | discord_guild
ana      | ana#1        | 118000000000000101 | outreach     | Your Team
ben      | ben.okoro    | 118000000000000102 | support      | Your Team
cleo     | cleo_m       | 118000000000000103 | {SUPPORT.id} | Your Team
stranger | ana#1 \u200b | 118000000000000666 | random       | Free Nitro Giveaway
""")
_ORIGINS = {name: dict(zip(_NAMES[1:], row, strict=True)) for name, *row in _ROWS}


def read_messages(
    text: str, questions: Mapping[str, Question] | None = None
) -> list[Message]:
    """Return the messages that a text holds in the form of mail: fields, an empty line,
    and the body. Each begins with its name.

    A field `attach` has the name, the file in ATTACHMENTS and the type of an
    attachment. `questions` are by the names of the messages that answer them.
    """
    messages = []
    for mail in map(message_from_string, re.split("^(?=name: )", text, flags=re.M)[1:]):
        attached = [one.split() for one in mail.get_all("attach", [])]
        del mail["attach"]
        fields = {name: " ".join(value.split()) for name, value in mail.items()}
        messages.append(
            Message(
                body=str(mail.get_payload()).strip() + "\n",
                attachments=[
                    Attachment(name, (ATTACHMENTS / file).read_bytes(), content_type)
                    for name, file, content_type in attached
                ],
                origin=_ORIGINS.get(fields.pop("origin", "")),
                question=(questions or {}).get(fields["name"]),
                from_second_mailbox=bool(fields.pop("second-mailbox", "")),
                unasked=bool(fields.pop("unasked", "")),
                **fields,
            )
        )
    return messages
