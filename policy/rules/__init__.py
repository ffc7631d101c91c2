"""Rules of policy: when a message needs more than one approval of any reviewer, and what it needs then.

`conditions`, `effects`, `rules` and `evaluation` are pure; `versions` and `facts` read the tables.
"""
