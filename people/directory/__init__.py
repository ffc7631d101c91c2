"""The list of people and the page of one person, with what admins change there.

No other package of `people` imports this one. Start reading at `views.py`.
"""
