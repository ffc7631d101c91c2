"""Allowlists: judging recipients, changing lists, rehearsing a change, pushing lists to
the gate, and their pages.

Start with `judgement.py`, which is pure, then `changes.py`.
"""
