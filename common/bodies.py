"""Reads the body of a request, and never more of it than is allowed."""

from django.http import HttpRequest


def read_body(request: HttpRequest, *, most: int) -> bytes | None:
    """Read at most one byte more than allowed, whatever the length in the header says; None when it is too much."""
    if declared_length(request, most=most) > most:
        return None
    # Chunked bodies have no length, and Django would read them as empty: take the server's stream itself.
    stream = request if request.META.get("CONTENT_LENGTH") else request.META["wsgi.input"]
    read = bytearray()
    while len(read) <= most and (chunk := stream.read(most + 1 - len(read))):
        read += chunk
    return bytes(read) if len(read) <= most else None


def declared_length(request: HttpRequest, *, most: int) -> int:
    """Return the length that the header tells, 0 without one; of a number without end, only that it is too much."""
    length = request.META.get("CONTENT_LENGTH") or ""
    if not length.isdecimal():
        return 0
    return int(length) if len(length) < 20 else most + 1
