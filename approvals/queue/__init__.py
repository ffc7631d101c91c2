"""The queue, which lists the messages that wait for review, and the history of decided
ones: filters, orders, rows, saved views and pages.

Nothing here decides a message. Start with `views.py`, then `querysets.py`;
`dashboard/templatetags/queue_rows.py` draws the rows.
"""
