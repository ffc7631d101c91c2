"""The table of the pages of MultiMail's lists of held messages, as they were last read:
where a whole read goes on, and on which page a message is likely to be found.
"""

from itertools import chain
from typing import Self

from django.contrib.postgres.fields import ArrayField
from django.db import models

from mirror.models.connections import Connection


class PendingPageQuerySet(models.QuerySet["PendingPage"]):
    """Queries of pages of the lists of held messages."""

    def of_read(self, connection: Connection) -> Self:
        """The pages that the whole read under way has read, in their order."""
        pages = self.filter(
            connection=connection, read_at__gte=connection.whole_read_began
        )
        return pages.order_by("number")

    def likely_cursors(self, connection: Connection, upstream_id: str) -> list[str]:
        """Return the cursors of the pages on which a message is likely to be listed:
        where it was listed last; the page before, to which it moves when others leave
        the list; the last page, where new messages are appended; the first page.
        """
        pages = self.filter(connection=connection)
        likely = list(
            pages.filter(ids__contains=[upstream_id]).order_by("-read_at")[:1]
        )
        for listing in likely[:1]:
            likely += pages.filter(number=listing.number - 1)
        likely += pages.order_by("-number")[:1]
        return list(dict.fromkeys([*(page.cursor for page in likely), ""]))

    def incomplete(self) -> Self:
        """Pages with rows that have no id or could not be stored."""
        return self.exclude(nameless=0, unreadable=0)

    def ids_listed(self) -> list[str]:
        """Return the ids of the messages on these pages."""
        return list(chain.from_iterable(self.values_list("ids", flat=True)))


class PendingPage(models.Model):
    """One page of MultiMail's list of the held messages of a connection."""

    connection = models.ForeignKey(
        Connection, models.CASCADE, related_name="pending_pages"
    )
    # The first page has the number 0.
    number = models.PositiveIntegerField()
    # What MultiMail is asked with for this page, and for the next one; empty for the
    # first page, and if none follows.
    cursor = models.TextField()
    following = models.TextField()
    # The ids of the messages on it.
    ids = ArrayField(models.TextField())
    # How many of its rows have no id, and how many could not be stored.
    nameless = models.PositiveIntegerField()
    unreadable = models.PositiveIntegerField()
    # When the desk asked for it.
    read_at = models.DateTimeField()

    objects = PendingPageQuerySet.as_manager()

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("connection", "number"), name="pending_page_number"
            ),
        )
