"""The signature that a mailbox appends to the text of what it sends."""


def with_signature(markdown: str, signature: str | None) -> str:
    """Return the body with the mailbox's signature block, as it is appended when the mail is sent."""
    return f"{markdown.rstrip()}\n\n-- \n{signature.strip()}\n" if signature and signature.strip() else markdown
