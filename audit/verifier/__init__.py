"""The offline verifier: one file, which auditors run with nothing but Python 3.9.

It imports nothing of ours. The rest of the ledger may import it, so that hashes and
checks are written once.
"""
