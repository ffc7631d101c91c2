"""Brings the mirror and the decisions up to date by reading from MultiMail: everything
that it holds, one message, or the outcome of a decision in doubt.

Nothing here calls `decide_email`. Start with `reads.py`.
"""
