"""The text of an HTML body, for messages that come without one of their own."""

from html.parser import HTMLParser

_BLOCKS = frozenset({"address", "blockquote", "br", "dd", "div", "dl", "dt", "hr", "li", "ol", "p", "pre", "table"})
_BLOCKS |= {"h1", "h2", "h3", "h4", "h5", "h6", "td", "th", "tr", "ul"}
_UNSEEN = frozenset({"head", "script", "style", "template", "title"})


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._unseen = 0

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag in _UNSEEN:
            self._unseen += 1
        elif tag in _BLOCKS:
            self.parts.append("\n")

    def handle_endtag(self, tag: str) -> None:
        if tag in _UNSEEN:
            self._unseen = max(0, self._unseen - 1)
        elif tag in _BLOCKS:
            self.parts.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._unseen:
            self.parts.append(data)


def text_of_html(html: str) -> str:
    """Return what a reader of `html` sees, without markup, one block a paragraph."""
    parser = _Text()
    parser.feed(html)
    parser.close()
    lines = (" ".join(line.split()) for line in "".join(parser.parts).splitlines())
    return "\n\n".join(line for line in lines if line)
