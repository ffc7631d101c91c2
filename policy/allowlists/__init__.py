"""Allowlists: changing lists, their pages, and telling the gates whom rules on lists
reject. Start with `changes.py`.
"""
