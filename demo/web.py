"""What the web pages of the demo share: what is refused of every request, the headers of
every answer, and the templates of `assets/`. Which function answers is in site.py.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path

from django.template import Context, Engine
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response

# In bytes.
MAX_BODY = 10_000_000
# The headers of every answer. A page may load only this server's own files, so that
# HTML injected by a card or a mail has no effect.
EVERY_ANSWER = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
ASSETS = Path(__file__).parent / "assets"


class Guard(BaseHTTPMiddleware):
    """Refuses bodies that are too large or of unknown length, and adds the headers of
    every answer.
    """

    async def dispatch(
        self, request: Request, call_next: RequestResponseEndpoint
    ) -> Response:
        """Answer one request."""
        length = int(request.headers.get("content-length", "0"))
        answer: Response
        if "transfer-encoding" in request.headers or length > MAX_BODY:
            words = "Send a Content-Length, of at most ten million bytes."
            answer = PlainTextResponse(words, 413)
        else:
            answer = await call_next(request)
        answer.headers.update(EVERY_ANSWER)
        return answer


def is_json(request: Request) -> bool:
    """Whether the Content-Type is JSON. A form on another site can post text/plain here,
    but for JSON the browser would ask this server first.
    """
    kind = request.headers.get("content-type", "").partition(";")[0]
    return kind.strip().lower() == "application/json"


def html_answer(html: str, status: int = 200) -> Response:
    """Return an answer with HTML, in which half of a surrogate pair is replaced."""
    return HTMLResponse(html.encode("utf-8", "replace"), status)


def fresh(request: Request, version: str, render: Callable[[], str]) -> Response:
    """Return the fragment; 204 if the page that asks shows this version already."""
    if request.query_params.get("version") == version:
        return Response(status_code=204)
    answer = html_answer(render())
    answer.headers["X-Version"] = version
    return answer


def fill(template: str, **values: object) -> str:
    """Return a template of `assets/` with these values, which it escapes."""
    # Without them the template would ask Django's settings, which the demo has not.
    context = Context(values, use_l10n=False, use_tz=False)
    return _templates().get_template(template).render(context)


@cache
def _templates() -> Engine:
    """Return Django's templates, with the filters of those modules that use them."""
    libraries = {"discord": "demo.discord.markdown", "inbox": "demo.inbox"}
    return Engine([str(ASSETS)], libraries=libraries)
