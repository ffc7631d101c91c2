"""Review plans: how soon messages are to be looked at and decided, the ladder for late
ones, and who is on duty.

`approvals.escalation` applies them to messages.
"""
