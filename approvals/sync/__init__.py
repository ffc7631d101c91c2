"""How the mirror is kept in step with MultiMail: what is asked for and closed, how fresh it is, and how each link does.

Only `asking` reaches the network. The comparison itself is `approvals.reconcile`; `mirror.store` writes the rows.
"""
