"""The queue: its filters, orders, rows, saved views and pages, and the history.

It decides nothing. Start with `views.py`, then `querysets.py`;
`dashboard/templatetags/queue_rows.py` draws the rows.
"""
