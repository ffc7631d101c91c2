"""The offline verifier, `countersign_verify.py`: one file that auditors run with
nothing but Python 3.9.

It must not import any other module of ours. The rest of the ledger imports it, so that
hashes and checks are written only once.
"""
