"""The parser: it reads bytes that strangers wrote (mail, HTML, attachments), so that an
error in a library cannot harm the desk. `program.py` runs as a process of its own, and
forks a confined process for each request, or for several of one source.

The rest of the product calls `client.parse` and gets bytes back. The kinds of request,
the "jobs", are defined in the `jobs` modules that `launcher.postgres` lists.
"""
