"""Reads the body of a request up to a limit, so that no request fills the memory; writes
an answer in JSON.
"""

from django.http import HttpRequest, HttpResponse, JsonResponse


def read_body(request: HttpRequest, *, most: int) -> bytes | None:
    """Return the body; None if it has more than `most` bytes. At most one byte more than
    `most` is read, whatever length the header says.
    """
    if declared_length(request, most=most) > most:
        return None
    body = request.read(most + 1)
    return body if len(body) <= most else None


def declared_length(request: HttpRequest, *, most: int) -> int:
    """Return the Content-Length; 0 if there is no valid one, and more than `most` if it
    has twenty digits or more, which are not worth reading.
    """
    length = request.META.get("CONTENT_LENGTH") or ""
    if not length.isdecimal():
        return 0
    return int(length) if len(length) < 20 else most + 1


def json_answer(status: int, content: dict[str, object]) -> HttpResponse:
    """Return an object as JSON, with its length."""
    answer = JsonResponse(content, status=status)
    answer.headers["Content-Length"] = str(len(answer.content))
    return answer
