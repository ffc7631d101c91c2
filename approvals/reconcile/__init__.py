"""Keeps mirror and decisions in step with MultiMail by asking it: whole reads, one message, a decision in doubt.

It never calls `decide_email`. Start with `reads.py`.
"""
