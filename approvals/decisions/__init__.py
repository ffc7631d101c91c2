"""The ways a decision takes besides being made and carried out: taken back, expired, ended, resolved, told.

`approvals.decisions.decide` makes one, `approvals.decisions.execute` carries it out, and `approvals.decisions.settle` alone writes its states.
"""
