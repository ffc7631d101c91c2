"""The rules of the policy: which messages need more than the approval of any one
reviewer, and what they need instead; and its passes.

`conditions`, `rules` and `demand` read no tables and no clock, and `fields` has the
fields of their forms; `facts` and `problems` read the database, and `changes` writes to
it.
"""
