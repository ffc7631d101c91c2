"""The admin pages of the policy, whose rules say which messages need more than one
approval: its versions and draft, the rule editor, groups, the playground, and
ready-made policies. Start with `views.py`.
"""
