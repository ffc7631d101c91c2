"""Backups: one file with the dump of the database, the seals and the keys, and how it is brought back."""
