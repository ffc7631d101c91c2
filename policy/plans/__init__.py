"""Review plans: how soon messages are to be looked at and decided, the ladder for late
ones, and who is on duty.

What follows from them for a message is done by `approvals.escalation`.
"""
