"""Backup and restore in one file: `archive` is its format, `database` dumps and loads,
`unpack` extracts the keys.

`archive` and `unpack` do not import Django, because a backup is opened before there are
settings.
"""
