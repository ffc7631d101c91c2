"""Items that need a person, and the one safe action for each.

Start with `attention.py`.
"""
