"""Checks of the whole ledger, bundles for auditors, and comparisons with a checkpoint
that somebody saved.

Uses the offline verifier on the rows of the database; must not write to the ledger
anything but entries about itself. Start reading at `checks.check_database`, then
`bundle.write_bundle`.
"""
