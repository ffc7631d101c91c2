"""Standing approvals, by which messages of one class are approved without a person: how
the desk proposes them, how two admins sign one, and what ends it.

The approving itself is in `approvals.decisions.by_rule`. Start with `commands.py`.
"""
