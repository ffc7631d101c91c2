"""What needs a person because nothing will end it by itself, and the one safe act for each.

Start with `attention.py`.
"""
