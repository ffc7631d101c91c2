"""Standing approvals at the desk: what the record proposes, how two admins sign one,
and what ends it.

`approvals.decisions.by_rule` approves by them.
"""
