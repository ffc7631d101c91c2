"""Reads pages for tests: removes the indentation of templates, returns only the words,
or checks what an answer says.
"""

import functools
import html
import re

# The header that htmx sends with each request.
HTMX = {"HX-Request": "true"}

_ATTRIBUTES = r"(?:[^<>\"']|\"[^\"]*\"|'[^']*')*"
_BLOCKS = (
    "html head title meta link body main header footer nav section article aside div p h1 h2 h3 h4 h5 h6 ul ol li "
    "dl dt dd form fieldset legend table caption thead tbody tfoot tr th td details summary figure figcaption hr "
    "iframe option datalist svg desc g rect path"
).replace(" ", "|")
# Elements in which white space is kept.
_VERBATIM = "pre|textarea|script|style"
_VERBATIM_BLOCK = re.compile(
    rf"(<(?:{_VERBATIM})\b{_ATTRIBUTES}>)(.*?)(?=</(?:{_VERBATIM})>)", re.DOTALL
)
_TAG = re.compile(rf"<[a-zA-Z/]{_ATTRIBUTES}>")
_AROUND_BLOCK = re.compile(rf"\s*(</?(?:{_BLOCKS})\b{_ATTRIBUTES}>)\s*")
_IN_BUTTON = re.compile(rf"(<button\b{_ATTRIBUTES}>)\s*(.*?)\s*(</button>)", re.DOTALL)


def words_of(page):
    """Return the words of a page, or of a client's answer, as a person reads them, with
    single blanks between them.
    """
    text = page if isinstance(page, str) else page.text
    return html.unescape(" ".join(re.sub(r"<[^>]+>", " ", text).split()))


def compact(page):
    """Return the page without white space that a browser would not show."""
    pieces = []
    end = 0
    for match in _VERBATIM_BLOCK.finditer(page):
        pieces += [_compacted(page[end : match.end(1)]), match[2]]
        end = match.end()
    return "".join([*pieces, _compacted(page[end:])])


def text_of(answer):
    """Return the words of a page's main part."""
    page = answer.text
    return words_of(page.partition("<main")[2].partition("</main>")[0] or page)


def says(answer, status, *parts):
    """Check that an answer has this status, and all `parts` in its words or source."""
    page = f"{words_of(answer)}\n{answer.text}"
    missing = [one for one in parts if one not in page]
    assert answer.status_code == status, page
    assert missing == [], page


def leads_to(answer):
    """Return the address to which an answer redirects."""
    assert answer.status_code == 302, answer.content
    return str(answer["Location"])


def _compacted(text):
    text = _TAG.sub(lambda tag: _one_tag(tag[0]), re.sub(r"[ \t\r\n]+", " ", text))
    text = _AROUND_BLOCK.sub(r"\1", text)
    return _IN_BUTTON.sub(r"\1\2\3", text)


# Pages have most of their tags in common.
@functools.cache
def _one_tag(tag):
    return re.sub(r" (?=/?>$)", "", re.sub(r'class=" ?(.*?) ?"', r'class="\1"', tag))
