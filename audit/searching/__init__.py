"""Finding entries: filters, facets, saved searches."""
