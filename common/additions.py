"""Adds to the body of a message what its mailbox adds when it sends: the signature,
then a footer.

The gateway builds mail with these functions and the desk shows it with them, so
reviewers see the same text in the same place as recipients. `additions` maps the name
of each addition, as in the fingerprint, to its text.
"""

from collections.abc import Mapping
from html import escape

# Additions that are lines of the footer, in their order.
FOOTER = ("ai_disclosure", "postal_address")


def with_signature(markdown: str, additions: Mapping[str, str]) -> str:
    """Return a Markdown body with the signature below it, if there is one."""
    signature = additions.get("signature", "").strip()
    return f"{markdown.rstrip()}\n\n-- \n{signature}\n" if signature else markdown


def text_part(markdown: str, additions: Mapping[str, str]) -> str:
    """Return the plain-text part of a message: body, signature and footer."""
    text = with_signature(markdown, additions)
    lines = _footer_lines(additions)
    if link := additions.get("unsubscribe"):
        lines.append(f"Unsubscribe: {link}")
    return "\n".join([text.rstrip(), "", *lines, ""]) if lines else text


def html_part(html: str, additions: Mapping[str, str]) -> str:
    """Return the HTML part of a message whose author wrote HTML, with the signature and
    the footer.
    """
    lines = [
        escape(line) for line in additions.get("signature", "").strip().splitlines()
    ]
    signature = f"\n<p>{'<br>'.join(['-- ', *lines])}</p>" if lines else ""
    return html + signature + html_footer(additions)


def html_footer(additions: Mapping[str, str]) -> str:
    """Return the footer as HTML, for a body that has its signature already. Empty if
    nothing is added.
    """
    lines = [escape(line) for line in _footer_lines(additions)]
    if link := additions.get("unsubscribe"):
        lines.append(f'<a href="{escape(link)}">Unsubscribe</a>')
    return f"\n<p>{'<br>'.join(lines)}</p>" if lines else ""


def _footer_lines(additions: Mapping[str, str]) -> list[str]:
    return [
        line for name in FOOTER for line in additions.get(name, "").strip().splitlines()
    ]
