"""Reads the body of a request, and never more of it than is allowed."""

from django.http import HttpRequest


def read_body(request: HttpRequest, *, most: int) -> bytes | None:
    """Read at most one byte more than allowed, whatever the length in the header says;
    None when it is too much.
    """
    if declared_length(request, most=most) > most:
        return None
    read = request.read(most + 1)
    return read if len(read) <= most else None


def declared_length(request: HttpRequest, *, most: int) -> int:
    """Return the Content-Length, 0 without the header; for an endless number, a value
    over any limit.
    """
    length = request.META.get("CONTENT_LENGTH") or ""
    if not length.isdecimal():
        return 0
    return int(length) if len(length) < 20 else most + 1
