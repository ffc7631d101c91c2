"""The report of who had which role where at a moment, read from the history that
database triggers write.

It only reads. Start reading at `rights.py`.
"""
