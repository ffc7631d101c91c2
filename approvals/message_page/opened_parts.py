"""What the message page shows of the parts beside the letter's text: files, thread, and what nobody opened yet."""

from typing import Any

from approvals.decisions.unread_parts import Part, key_of, unread_parts
from approvals.models import OpenedPart
from mirror.attachments.preview import ShownFile, shown_file
from mirror.models import AttachedFile, Message
from mirror.store import stored_content
from mirror.threads.conversation import Conversation, conversation_of
from people.actors import Actor


def parts_context(message: Message, actor: Actor) -> dict[str, Any]:
    """Return what the page needs to know of the parts: the files, the thread, and those that were not opened."""
    conversation = conversation_of(message)
    return {**_files(message, actor), "conversation": conversation, **_unread(message, actor, conversation)}


def files_context(message: Message, actor: Actor) -> dict[str, Any]:
    """Return what the panel of files shows alone."""
    content = stored_content(message.revision) if message.revision else None
    return {"message": message, "content": content, **_files(message, actor)}


def thread_context(message: Message) -> dict[str, Any]:
    """Return what the thread shows alone."""
    return {"message": message, "conversation": conversation_of(message), "is_open": True}


def unread_context(message: Message, actor: Actor) -> dict[str, Any]:
    """Return what the words beside the decision say of parts that were not opened."""
    conversation = conversation_of(message)
    return {"message": message, "conversation": conversation, **_unread(message, actor, conversation)}


def _files(message: Message, actor: Actor) -> dict[str, Any]:
    if message.revision is None or not message.revision.content.get("attachments"):
        return {"files": [], "files_that_lie": [], "not_kept": [], "files_wait": False}
    files = list(AttachedFile.objects.filter(revision=message.revision).without_bytes().in_place())
    opened = OpenedPart.objects.of(message, person=int(actor.id))
    shown: list[ShownFile] = [shown_file(file, is_opened=key_of(file) in opened) for file in files]
    return {
        "files": shown,
        # What only the bytes gave away: what the names do stands among the findings.
        "files_that_lie": [one for one in shown if one.file.differs or one.serious],
        # Beyond as many as anybody reads, and of mail that was past the desk before files were fetched.
        "not_kept": stored_content(message.revision).attachments[len(files) :],
        "files_wait": message.state == "held" and any(one.is_waiting for one in shown),
    }


def _unread(message: Message, actor: Actor, conversation: Conversation) -> dict[str, Any]:
    unread: list[Part] = unread_parts(message, person=int(actor.id), conversation=conversation)
    return {"unread": unread, "links_are_unread": any(part.anchor == "links" for part in unread)}
