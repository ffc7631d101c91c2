"""Named queries of messages at the desk, decisions, verdicts, claims, snoozes and comments."""
