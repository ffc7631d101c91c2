"""Makes rows of what is to be fetched with a new version of a letter: its attached files, the thread it answers in."""

from common.enqueue import enqueue
from common.fingerprint import Content
from mirror.models import AttachedFile, Message, Thread

# Of a letter with more files than anybody reads, the rest is named on the page and not fetched.
MAX_FILES = 50


def expect_parts(message: Message, content: Content) -> None:
    """Note what belongs to the current version of a locked message, and tell a worker once that is committed."""
    if content.attachments:
        _expect_files(message, content)
    # A draft that answers nothing begins its thread: nothing is asked about it until somebody opens it.
    if message.thread_id and (content.in_reply_to or "in_reply_to" not in content.coverage):
        expect_thread(message)


def _expect_files(message: Message, content: Content) -> None:
    made = AttachedFile.objects.bulk_create(
        AttachedFile(
            message=message,
            revision=message.revision,
            place=place,
            name=attachment.name,
            content_type=attachment.content_type,
            size=max(0, min(attachment.size, 2**62)),
            sha256=attachment.sha256[:64],
        )
        for place, attachment in enumerate(content.attachments[:MAX_FILES], start=1)
    )
    for file in made:
        enqueue("approvals.tasks.fetch_file", file.pk)


def expect_thread(message: Message) -> Thread | None:
    """Return the row of the message's thread, made on first sight; None where it has none."""
    if not message.thread_id or message.mailbox_id is None:
        return None
    thread, is_new = Thread.objects.get_or_create(mailbox_id=message.mailbox_id, upstream_id=message.thread_id)
    if is_new:
        enqueue("approvals.tasks.read_thread", thread.pk)
    return thread
