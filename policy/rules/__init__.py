"""The rules of the policy: which messages need more than the approval of any one
reviewer, and what they need instead.

`conditions`, `rules`, `demand` and `satisfiable` read no tables and no clock; `facts`
and `names` read the database, and `changes` writes to it.
"""
