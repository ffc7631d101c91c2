"""Backup and restore in one file. `archive` is the file's format, `database` dumps and
loads the database, `unpack` takes the keys out of a backup.

`archive` and `unpack` do not import Django, because a backup is opened before there are
settings.
"""
