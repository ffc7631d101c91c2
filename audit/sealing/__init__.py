"""Sealing: entries are sealed in batches, in a chain of seals signed with a key that
the database does not have.

It must not know who reads the ledger or how it is shown. Start reading at
`sealer.seal_all`; docs/ledger.md describes every byte.
"""
