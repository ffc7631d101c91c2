"""Keeps mirror and decisions in step with MultiMail by reads: of everything, one
message, or a decision in doubt.

It never calls `decide_email`. Start with `reads.py`.
"""
