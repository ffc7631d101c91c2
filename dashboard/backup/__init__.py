"""Everything in one file, and back: `archive` is the file, `database` dumps and loads, `unpack` takes the keys out.

`archive` and `unpack` know no Django, because a backup is opened before there are settings.
"""
