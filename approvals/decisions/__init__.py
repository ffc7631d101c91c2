"""Verdicts and decisions: made, carried out, undone, expired, settled. No pages.

`decide.py` makes a decision, `execute.py` carries it out, and `settle.py` alone writes
its states.
"""
