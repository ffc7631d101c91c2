"""Asks the parser, which runs in confined processes, to simplify HTML and to turn
Markdown into HTML.
"""

from dataclasses import dataclass

from gateway.errors import Invalid, Unavailable
from parsing.client import ParserBusy, ParserKilled, ParserUnavailable, parse
from parsing.jobs import unpack

# Seconds to wait for the parser: in a request, and in a worker.
PATIENCE = 20.0
LONG_PATIENCE = 60.0


@dataclass(frozen=True)
class Simplified:
    """The simple form of some HTML, its text, and sentences that say what was
    changed.
    """

    html: str
    text: str
    changes: list[str]


def simplified(source: str, *, job: str = "simplify_html") -> Simplified:
    """Return the simple form of a message's HTML; with the job `simplify_markdown`, of
    the HTML that a Markdown body becomes. Raises Invalid if it cannot be simplified in
    time, or Unavailable if the parser cannot be reached.
    """
    encoded = source.encode("utf-8", "surrogatepass")
    try:
        fields, _ = unpack(parse(job, encoded, patience=PATIENCE))
    except ParserKilled:
        fields = {"refusal": "it takes too much time or memory to read"}
    except ParserBusy:
        fields = {"refusal": "it could not be read in time"}
    except ParserUnavailable:
        raise Unavailable(
            "The HTML cannot be read at this moment. Try again."
        ) from None
    if refusal := fields.get("refusal"):
        raise Invalid(
            f"html: cannot be sent, because {refusal}. Send simpler HTML, or markdown."
        )
    return Simplified(**fields)


def render_markdown(markdown: str) -> str:
    """Return the HTML of a Markdown body. Raises ParserKilled or ParserUnavailable."""
    encoded = markdown.encode("utf-8", "surrogatepass")
    return parse("render_markdown", encoded, patience=LONG_PATIENCE).decode(
        "utf-8", "surrogatepass"
    )
