"""Who decided what in a month: the figures, the rows behind each of them, and both as
CSV. It only reads.

Start with `decisions.py`.
"""
