"""API keys of an account: made, limited, revoked, and whose program each belongs to.

Start with `commands.py`.
"""
