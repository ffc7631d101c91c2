"""Bulk review: a person decides many messages on one page, the sheet, and then sees the
outcome of each.

Each message is decided separately, by `approvals.decisions`. Start with `views.py`.
"""
