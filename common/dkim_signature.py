"""Signs mail by DKIM (RFC 6376)."""

# The headers that are signed. Each is named once more than it occurs, so that adding
# one breaks the signature (RFC 6376, section 8.15).
_SIGNED = (
    2
    * b"""
    from to cc subject date message-id reply-to in-reply-to references mime-version
    content-type content-transfer-encoding x-ai-generated x-multimail-identity
    """.split()
)


def signed(message: bytes, domain: str, selector: str, private_key: str) -> bytes:
    """Return a message with a signature of this domain."""
    # Imported late: with its DNS library it takes 4 MB of memory, and an installation
    # may have no domain of its own.
    import dkim

    signed_headers = list(_SIGNED)
    if b"\r\nList-Unsubscribe: " in message.partition(b"\r\n\r\n")[0]:
        # RFC 8058 requires these to be signed. They are signed only if the message has
        # them, because mailing lists add their own to other mail.
        signed_headers += 2 * b"list-unsubscribe list-unsubscribe-post".split()
    header: bytes = dkim.sign(
        message,
        selector=selector.encode(),
        domain=domain.encode(),
        privkey=private_key.encode(),
        canonicalize=(b"relaxed", b"relaxed"),
        include_headers=signed_headers,
    )
    return header + message
