"""Has HTML and Markdown converted by the parser, in a process apart."""

from gateway.errors import Invalid, Unavailable
from parsing.client import ParserKilled, ParserUnavailable, parse

# Seconds that a request waits, and a worker.
PATIENCE, LONG_PATIENCE = 20.0, 60.0


def text_of_html(html: str) -> str:
    """Return what a reader of HTML sees, without markup. Raises Invalid or Unavailable."""
    try:
        return _converted("text_of_html", html, PATIENCE)
    except ParserKilled:
        sentence = "html: takes too much time or memory to read. Send simpler HTML, or markdown."
        raise Invalid(sentence, field="html") from None
    except ParserUnavailable:
        raise Unavailable("The HTML cannot be read at this moment. Try again.") from None


def render_markdown(markdown: str) -> str:
    """Return the HTML of a Markdown body. Raises ParserKilled or ParserUnavailable."""
    return _converted("render_markdown", markdown, LONG_PATIENCE)


def _converted(job: str, text: str, patience: float) -> str:
    return parse(job, text.encode("utf-8", "surrogatepass"), patience=patience).decode("utf-8", "surrogatepass")
