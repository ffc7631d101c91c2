"""Sealing: entries are sealed in batches. Each seal covers the seal before it, and is
signed with a key that the database does not have.

This package must not know who reads the ledger or how it is shown. Start reading at
`sealer.seal_all`; docs/ledger.md describes every byte.
"""
