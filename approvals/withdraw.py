"""What a person can still do once a call may have left: withdraw it, send it again, or say what became of it."""
