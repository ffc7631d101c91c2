"""The pages on which admins and auditors see other people: the list, one person's page
with what admins change there, and two safeguards.

No other package of `people` imports this one. Start reading at `views.py`.
"""
