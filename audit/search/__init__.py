"""The search of the ledger: its page, with filters, counts and saved searches.

Filters are pure values, which exports use too. This package must not know how entries
are sealed. Start reading at `views.ledger`.
"""
