"""Allowlists: judging recipients, changing lists, previewing a change, pushing lists to
the gates, and the pages.

Start with `judgement.py`, whose first half is pure, then `changes.py`.
"""
