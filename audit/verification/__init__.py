"""Checks of the whole ledger, and bundles for auditors.

Uses the offline verifier on the rows of the database; must not write to the ledger
anything but entries about itself. Start reading at `checks.check_database`, then
`bundle.write_bundle`.
"""
