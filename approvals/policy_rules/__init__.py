"""The admin pages of the policy, whose rules say which messages need more than one
approval: its versions and draft, the rule editor, groups, and the playground. Start with `views.py`.
"""
