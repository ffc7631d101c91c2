"""Allowlists of mailboxes, and what they refused."""

from ninja import Router

router = Router(tags=["allowlists"])
