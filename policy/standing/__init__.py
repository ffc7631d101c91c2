"""Standing approvals: two admins sign that a narrow class of messages is approved
without a person.

`scope` says which messages, and is pure; `policy.models.standing` has the tables. What
approves, ends and proposes them is in the approvals app.
"""
