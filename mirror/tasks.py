"""Celery's tasks of the mirror; each that asks MultiMail runs in a slot of its
connection.

A task imports what it runs when it runs, so that what it runs may send it.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

from celery import shared_task

from common.tasks import AfterCommitTask
from mirror.models import Connection
from mirror.sync.connection_slots import ConnectionSlots

# The worker sets how many threads it has.
SLOTS = ConnectionSlots(threads=8)


def connection_task(
    row: str, *, is_urgent: bool = False
) -> Callable[[Callable[[int], str]], Any]:
    """Make a task about one row, which a filter of connections by `row` finds.

    It runs in a slot of that connection. Without a free one it ends, and is sent again
    when there is one.
    """

    def task_of(command: Callable[[int], str]) -> Any:
        @shared_task(base=AfterCommitTask)
        @wraps(command)
        def task(row_id: int) -> str:
            connection = (
                Connection.objects.filter(**{row: row_id}).only("failing_since").first()
            )
            if connection is None:
                return "gone"
            is_well = connection.failing_since is None
            try:
                with SLOTS.enter(
                    connection.pk, (task, row_id), is_well=is_well, is_urgent=is_urgent
                ) as entry:
                    return command(row_id) if entry.is_in else "no room now"
            finally:
                for waiting, key in entry.next:
                    waiting.delay_on_commit(key)

        return task

    return task_of


@connection_task("pk")
def read_suppressed(connection_id: int) -> str:
    """Read the suppressed addresses of one connection."""
    from mirror.sync import address_lists

    return address_lists.read_suppressed(connection_id=connection_id)


@shared_task(base=AfterCommitTask)
def read_all_suppressed() -> str:
    """Send `read_suppressed` for each healthy connection that has the key for it."""
    read_suppressed.delay_each(
        Connection.objects.to_read().exclude(admin_key="").values_list("pk", flat=True)
    )
    return "sent"


@connection_task("pk")
def survey(connection_id: int) -> str:
    """Ask MultiMail what it can do at one connection."""
    from mirror.sync import capabilities

    return capabilities.learn(connection_id=connection_id)


@connection_task("pk")
def read_mailboxes(connection_id: int) -> str:
    """Read the mailboxes of one connection."""
    from mirror.sync import mailboxes

    return mailboxes.read_mailboxes(connection_id=connection_id) or "read"


@shared_task(base=AfterCommitTask)
def read_all_mailboxes() -> str:
    """Send `read_mailboxes` for each healthy connection that has a key for it."""
    with_key = Connection.objects.to_read().exclude(admin_key="", read_key="")
    read_mailboxes.delay_each(with_key.values_list("pk", flat=True))
    return "sent"


@connection_task("pk")
def read_contacts(connection_id: int) -> str:
    """Read the contacts of an account, for lists that go by them."""
    from mirror.sync import address_lists

    return address_lists.read_contacts(connection_id=connection_id)


@shared_task(base=AfterCommitTask)
def read_all_contacts() -> str:
    """Send `read_contacts` for each healthy connection that has a key for it, or had
    one.
    """
    with_key = Connection.objects.to_read().exclude(read_key="", contacts_read_at=None)
    read_contacts.delay_each(with_key.values_list("pk", flat=True))
    return "sent"


@connection_task("messages__files")
def fetch_file(file_id: int) -> str:
    """Fetch one attached file."""
    from mirror.attachments import fetch

    return fetch.fetch_file(file_id=file_id)


@connection_task("mailboxes__threads")
def read_thread(thread_id: int) -> str:
    """Read one thread."""
    from mirror.threads import fetch

    return fetch.read_thread(thread_id=thread_id)


@connection_task("messages")
def freshen_thread(message_id: int) -> str:
    """Read the thread of a message that somebody opened, if that was not done a moment
    ago.
    """
    from mirror.threads import fetch

    return fetch.freshen_thread(message_id=message_id)


@shared_task(base=AfterCommitTask)
def forget() -> str:
    """Delete old webhooks, bytes of old files and pictures, renderings and old threads,
    a few at a time.
    """
    from mirror.attachments.renderings.store import drop_old_renderings
    from mirror.sync import retention

    drop_old_renderings()
    return f"{' + '.join(map(str, retention.forget().values()))} forgotten"
