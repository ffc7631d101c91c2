"""Says whether a held message can be edited here, and what an edit would lose. Pure: it
reads nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from common.fingerprint import Content
from mirror.models import AttachedFile, Message
from policy.evaluation import Ruling

# In these modes of its mailbox, hosted MultiMail would send the new message without
# review.
_UNREVIEWED = ("monitored", "autonomous")
_LOSES = {
    "cc": "Cc",
    "bcc": "Bcc",
    "reply_to": "Reply-To",
    "attachments": "attached files",
}


@dataclass(frozen=True)
class Editability:
    """Why a message cannot be sent again as corrected, as a sentence that says what to
    do; empty where it can.

    `may_suggest`: changes can be requested with a suggested text all the same. `notes`
    say what an edit loses.
    """

    why_not: str = ""
    may_suggest: bool = False
    notes: tuple[str, ...] = ()


def editability(
    message: Message,
    content: Content | None,
    *,
    ruling: Ruling,
    files: Sequence[AttachedFile],
) -> Editability:
    """Return whether this person can edit this message now; `files` are those of its
    current version.
    """
    if message.is_inbound:
        return Editability("Received mail cannot be edited: release it, or reject it.")
    if content is None or not ruling.may_reject:
        return Editability(ruling.reasons[0])
    if content.markdown is None:
        return Editability(
            "It has only HTML and no text to edit. Request changes instead."
        )
    notes = []
    if unseen := [words for name, words in _LOSES.items() if name in content.unseen]:
        notes.append(
            f"Not visible with this connection's keys: {', '.join(unseen)}. The edited version has only what is shown "
            "here."
        )
    if content.html is not None:
        notes.append(
            "It has an HTML version of its own. If you change the text, its HTML is made from your text."
        )
    if content.in_reply_to and not message.connection.is_our_gateway:
        notes.append(
            "It is a reply. MultiMail starts a new thread with the edited version."
        )
    why_not = set_up_problem(message) or _files_problem(content, files)
    return Editability(why_not, may_suggest=True, notes=tuple(notes))


def set_up_problem(message: Message) -> str:
    """Return why its connection or mailbox cannot send the corrected message for
    review; empty where it can.
    """
    connection = message.connection
    mailbox = message.mailbox
    if mailbox is None:
        return "Its mailbox is not known, so an edited version cannot be sent. Request changes instead."
    put_in = f"An admin can enter an agent key of {connection} that may send and read, under Connections."
    if not connection.agent_key:
        return f"Sending an edited version needs an agent key, and this connection has none. {put_in}"
    scopes = connection.key_scopes.get("agent")
    if scopes is not None and "send" not in scopes:
        return f"The agent key of this connection may not send. {put_in}"
    is_sandbox_key = connection.agent_key.startswith("mm_test_")
    if is_sandbox_key and not message.sandbox:
        return f"The agent key of this connection is a sandbox key: nobody would get the message. {put_in}"
    if message.sandbox and not is_sandbox_key:
        return "This is a test message, and the agent key sends real mail. Request changes instead."
    if mailbox.oversight_mode == "read_only":
        return f"{mailbox} is read only: nothing can be sent from it. Reject the message instead."
    if mailbox.oversight_mode in _UNREVIEWED and not connection.is_our_gateway:
        return f"{mailbox} now sends without review, so an edited version would be sent at once. Request changes."
    return ""


def _files_problem(content: Content, files: Sequence[AttachedFile]) -> str:
    if len(files) < len(content.attachments):
        return "It has more attachments than this desk fetches, so they cannot be included. Request changes."
    for file in files:
        if file.differs:
            return (
                f"{file.name} does not match the fingerprint, so it cannot be included."
            )
        if file.state != AttachedFile.State.FETCHED:
            return f"{file.name} is {file.get_state_display()}, so it cannot be included. Request changes instead."
    return ""
