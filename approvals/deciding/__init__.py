"""The ways a decision takes besides being made and carried out: taken back, expired, ended, resolved, told.

`approvals.decide` makes one, `approvals.execute` carries it out, and `approvals.settle` alone writes its states.
"""
