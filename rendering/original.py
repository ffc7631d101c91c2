"""Draws the original HTML of a message for a frame in which nothing loads or runs: with
its style sheets, classes and attributes of looks, without what acts or has an address.

Runs only in the parser's confined processes.
"""

import re
from html import escape
from itertools import pairwise

import nh3
import tinycss2

from common.fingerprint import Content
from rendering.render import sent_html
from rendering.source_view import render_source
from simple_form import TooComplex
from simple_form.html_reading import tokens
from simple_form.tree import Tree

_TAGS = set(
    "a abbr acronym address article aside b bdi bdo big blockquote br button caption center cite code col "
    "colgroup data dd del details dfn dialog dir div dl dt em fieldset figcaption figure font footer form h1 h2 "
    "h3 h4 h5 h6 header hgroup hr i img input ins kbd label legend li listing main mark marquee menu meter nav "
    "nobr ol optgroup option output p pre progress q rp rt ruby s samp search section select small span strike "
    "strong sub summary sup table tbody td textarea tfoot th thead time tr tt u ul var wbr".split()
)
# These are left out with what stands inside of them.
_LEFT_OUT = set(
    "audio canvas iframe math noembed noframes script style svg template title video".split()
)
_ATTRIBUTES = set(
    "align alink alt bgcolor border bordercolor cellpadding cellspacing checked class clear color cols colspan "
    "dir face frame headers height hidden high hspace id inert label lang leftmargin link low marginheight "
    "marginwidth max min multiple noshade nowrap open optimum placeholder popover reversed rows rowspan rules "
    "selected size span start style summary text title topmargin type valign value vlink vspace width wrap".split()
)
# Nobody can fill these in or press them here.
_FIELDS = "button fieldset input optgroup option select textarea".split()
# Elements without a meaning of their own, which a style can still hide.
_NAMELESS = re.compile(r"<([a-z][a-z0-9]*[:-][a-z0-9:-]*)")
# In a browser without scripts it is an element like others; nh3 reads it as text.
_NOSCRIPT = re.compile(r"<(/?)noscript\b", re.IGNORECASE)
_PICTURE = re.compile(r"data:image/(?:png|jpe?g|gif)[;,]", re.IGNORECASE)
# What loads something in CSS, other than a picture that comes with the message. An
# address without quotes belongs to it, because it may have brackets.
_LOADING = re.compile(
    r"(?<=@)import|(?:src|image|image-set)(?=\()"
    rf"|url(?=\((?!\s*+\"?{_PICTURE.pattern}))(?:\((?:[^()\s\"'\\]|\\.)*+\))?+",
    re.IGNORECASE | re.DOTALL,
)


def draw_original(content: Content) -> str:
    """Return the original as a document for its frame; its source if it cannot be
    drawn.
    """
    # nh3 drops the tags of the page itself, and style sheets. Of an attribute that is
    # written twice the first one counts.
    page = {"html": "", "body": ""}
    # Links have no address any more, and look as before.
    styles = "<style>:where(a){color:#00e;text-decoration:underline}</style>"
    try:
        source = _NOSCRIPT.sub(r"<\1div", sent_html(content))
        # Raises TooComplex for what would take nh3 or a browser long.
        Tree(source)
        for token, following in pairwise(tokens(source)):
            values = token.attributes
            if token.kind == "start" and token.name in page:
                for name in sorted(values.keys() & _ATTRIBUTES):
                    value = escape(_allowed(token.name, name, values[name]) or "")
                    page[token.name] += f' {name}="{value}"'
            elif following.kind == "raw" and token.name == "style":
                css = _css(following.data)
                styles += f'<style media="{escape(values["media"])}">{css}</style>'
    except TooComplex as reason:
        return render_source(content, str(reason)).document
    body = nh3.clean(
        source,
        tags=_TAGS.union(_NAMELESS.findall(source.lower())),
        clean_content_tags=_LEFT_OUT,
        attributes={"*": _ATTRIBUTES, "img": {"src"}},
        generic_attribute_prefixes={"data-"},
        attribute_filter=_allowed,
        set_tag_attribute_values={name: {"disabled": ""} for name in _FIELDS},
        url_schemes={"data"},
        link_rel=None,
    )
    doctype = "<!doctype html>" * ("<!doctype html" in source[:1000].lower())
    return (
        f'{doctype}<html{page["html"]} lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Original look</title>{styles}</head><body{page['body']}>{body}</body></html>"
    )


def _allowed(tag: str, attribute: str, value: str) -> str | None:
    """Return the value of an attribute without what loads; None to drop it."""
    if attribute == "style":
        return _css(value)
    return value if attribute != "src" or _PICTURE.match(value) else None


def _css(css: str) -> str:
    """Return CSS without what loads; empty if its brackets lie too deep in each other."""
    try:
        nodes = tinycss2.parse_component_value_list(css, skip_comments=True)
        # Written anew, its names have no escapes.
        written = str(tinycss2.serialize(nodes))
    except RecursionError:
        return ""
    return _LOADING.sub("removed", written).replace("</", r"<\/")
