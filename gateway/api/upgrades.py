"""Asking for a looser oversight mode, and granting it by a one-time code."""

from ninja import Router

router = Router(tags=["oversight"])
