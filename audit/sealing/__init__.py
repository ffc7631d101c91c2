"""Seals: entries become leaves of one tree, whose head is signed with a key that the database does not have."""
