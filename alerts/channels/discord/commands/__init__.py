"""Slash commands on Discord: what people type becomes mail that somebody else reviews,
or a list.

It must not know cards or deliveries, and is the only part of alerts that speaks to
MultiMail. Start reading at run.py.
"""
