"""Strangers' bytes are parsed apart: by `program.py`, which runs each request in a
confined process of its own.

Everything else asks it through `client.parse` and gets bytes back. What it can be asked
is in the `jobs` modules of the packages above (`launcher.servers` lists them).
"""
