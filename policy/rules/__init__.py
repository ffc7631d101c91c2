"""Rules of policy: when a message needs more than one approval of any reviewer, and
what it needs then.

`conditions`, `rules`, `demand` and `drafts` are pure; `versions`, `facts` and `names`
read the tables, and `changes` and `groups` write them.
"""
