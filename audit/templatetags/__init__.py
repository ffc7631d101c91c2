"""The template tags of the ledger."""
