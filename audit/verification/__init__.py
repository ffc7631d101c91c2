"""Checks the whole ledger, writes bundles for auditors, and compares the ledger with a
checkpoint that somebody saved.

It runs the offline verifier on the rows of the database, and writes only entries about
these checks. Start reading at `checks.check_database`, then `bundle.write_bundle`.
"""
