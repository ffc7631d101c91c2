"""Rules of policy: when a message needs more than one approval of any reviewer, and
what it needs then.

`conditions`, `rules`, `demand` and `satisfiable` are pure; `facts` and `names` read the
tables, and `changes` writes them.
"""
