"""The page Needs attention: what is stuck and needs a person, with one safe action for
each item.

Start with `attention.py`.
"""
