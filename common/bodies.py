"""Reads the body of a request up to a limit, so that no request fills the memory."""

from django.http import HttpRequest


def read_body(request: HttpRequest, *, most: int) -> bytes | None:
    """Return the body; None if it has more than `most` bytes. It never reads more than
    one byte beyond that, whatever length the header says.
    """
    if declared_length(request, most=most) > most:
        return None
    body = request.read(most + 1)
    return body if len(body) <= most else None


def declared_length(request: HttpRequest, *, most: int) -> int:
    """Return the Content-Length; 0 if there is none, and more than `most` if the number
    is too long to be read.
    """
    length = request.META.get("CONTENT_LENGTH") or ""
    if not length.isdecimal():
        return 0
    return int(length) if len(length) < 20 else most + 1
