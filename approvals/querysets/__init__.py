"""Queries of messages at the desk, decisions, verdicts and what people leave at a message, each with a name."""
