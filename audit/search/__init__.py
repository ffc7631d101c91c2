"""Finding entries: the ledger's page with its filters, counts and saved searches.

Filters are pure values, which exports share. It must not know how entries are sealed.
Start reading at `views.ledger`.
"""
