"""Database dumps of earlier releases. test_upgrade loads each of them and starts the
present code on it.
"""
