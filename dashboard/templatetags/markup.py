"""Template tags for markup that many pages share: heads of pages, cards, facts, chips,
forms, errors of a page or a field. The page /patterns/ shows each.
"""

from typing import Any

from django import template
from django.forms.utils import flatatt
from django.shortcuts import resolve_url
from django.template.context import RequestContext
from django.template.defaulttags import CsrfTokenNode
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from dashboard import words
from dashboard.templatetags.desk import icon, ink

register = template.Library()


def dashed(attributes: dict[str, Any]) -> dict[str, Any]:
    """Return attributes by their names in HTML, such as `data-key` for `data_key`."""
    return {name.replace("_", "-"): value for name, value in attributes.items()}


@register.simple_block_tag(takes_context=True)
def post_form(
    context: RequestContext,
    content: SafeString,
    to: str = "",
    *args: Any,
    suffix: str = "",
    target: str = "",
    **attributes: str | bool,
) -> SafeString:
    """Return a form that posts to a view or address, with the token that protects it:
    `{% post_form 'undo' message.pk class="acts" %}<button>...</button>{% endpost_form %}`.
    Without an address it posts to the page's own. With a `target`, htmx puts the answer
    in the place of that element.
    """
    named = dashed(attributes)
    if to:
        named["action"] = f"{resolve_url(to, *args)}{suffix}"
    if target:
        named |= {"hx-post": named["action"], "hx-target": target}
        named |= {"hx-swap": "outerHTML", "hx-disabled-elt": "find button"}
    token = CsrfTokenNode().render(context)
    return format_html(
        '<form method="post"{}>{}{}</form>', flatatt(named), token, content
    )


@register.simple_block_tag(takes_context=True)
def post_button(
    context: RequestContext,
    content: SafeString,
    to: str = "",
    *args: Any,
    suffix: str = "",
    form: str = "",
    look: str = "",
    **attributes: str,
) -> SafeString:
    """Return a button in a form of its own: `{% post_button 'stop' look="no"
    form="acts" %}Stop{% endpost_button %}`. Both take classes, `look` those of the
    button.
    """
    named = {"class": f"btn {look}".rstrip(), **attributes}
    button = format_html("<button{}>{}</button>", flatatt(named), content)
    classes: Any = {"class": form or None}
    return post_form(context, button, to, *args, suffix=suffix, **classes)


@register.simple_block_tag
def page_head(content: SafeString, title: str, *above: Any) -> SafeString:
    """Return the head of a page, with the link to the page above it if that is named:
    `{% page_head "Invite a person" "People" 'people' %}<p>...</p>{% endpage_head %}`.
    """
    return format_html(
        '<header class="row wrap page-head">{}<h1 class="whole">{}</h1>{}</header>',
        crumb(*above) if above else "",
        title,
        content,
    )


@register.simple_block_tag
def card(
    content: SafeString,
    title: str,
    label: str,
    image: str = "",
    state: str = "",
    tone: str = "",
    **attributes: str,
) -> SafeString:
    """Return a card under a heading with the id `label`: `{% card "Signing in" "in"
    "key" %}...{% endcard %}`. Its `state` is a chip of that `tone` beside the heading. A
    `class` is one more.
    """
    classes = f"card pad {attributes.pop('class', '')}".rstrip()
    named = {"class": classes, "aria-labelledby": label, **attributes}
    return format_html(
        '<section{}><div class="row wrap card-head">{}<h2 class="whole" id="{}">{}</h2>{}</div>{}'
        "</section>",
        flatatt(named),
        icon(image) if image else "",
        label,
        title,
        chip(state, tone) if state else "",
        content,
    )


@register.simple_block_tag
def section(
    content: SafeString, title: str, label: str, **attributes: str
) -> SafeString:
    """Return a part of a page under a heading with the id `label`."""
    named = {"aria-labelledby": label, **attributes}
    return format_html(
        '<section class="section"{}><h2 id="{}">{}</h2>{}</section>',
        flatatt(named),
        label,
        title,
        content,
    )


@register.simple_block_tag
def empty_state(
    content: SafeString, title: str, image: str, look: str = ""
) -> SafeString:
    """Return what stands in the place of a list without rows; as a card if its `look`
    is that.
    """
    return format_html(
        '<div class="{}">{}<p class="title">{}</p>{}</div>',
        f"empty {look}".rstrip(),
        icon(image),
        title,
        content,
    )


@register.simple_block_tag
def notice(
    content: SafeString,
    tone: str,
    image: str,
    title: str = "",
    **attributes: str | bool,
) -> SafeString:
    """Return a notice: `{% notice "amber" "warn" "What" %}Why, and what to
    do{% endnotice %}`.
    """
    if title:
        form = '<strong>{}</strong> <span class="quiet whole">{}</span>'
        content = format_html(form, title, content)
    named = {"class": f"notice {tone}".rstrip(), **dashed(attributes)}
    return format_html(
        '<div{}>{}<div class="whole">{}</div></div>',
        flatatt(named),
        icon(image),
        content,
    )


@register.simple_block_tag
def item(content: SafeString, image: str, look: str = "note") -> SafeString:
    """Return an entry of a list: words behind their icon."""
    attributes = flatatt({"class": look})
    return format_html(
        '<li{}>{}<span class="whole">{}</span></li>', attributes, icon(image), content
    )


@register.simple_block_tag
def note(content: SafeString, image: str, look: str = "") -> SafeString:
    """Return a paragraph behind its icon, quieter than a notice."""
    return format_html(
        '<p class="note {}">{}<span class="whole">{}</span></p>',
        look,
        icon(image),
        content,
    )


@register.simple_tag
def page_error(error: object, form: Any = None) -> SafeString | str:
    """Return a notice with the reason why something was refused; nothing if there is
    none, or if the form lists it.
    """
    if not error or (form and form.errors):
        return ""
    tone = "amber" if getattr(error, "wants_code", False) else "rose"
    return notice(SafeString(), tone, "warn", ink(error), role="alert")


@register.simple_tag
def field_error(sentence: str | None, element_id: str = "") -> SafeString | str:
    """Return the error to show below a field; nothing if there is none."""
    if not sentence:
        return ""
    attribute = format_html(' id="{}"', element_id) if element_id else ""
    return format_html(
        '<p class="wrong"{} role="alert">{}<span class="whole">{}</span></p>',
        attribute,
        icon("warn"),
        sentence,
    )


@register.simple_tag
def crumb(label: str, view: str, *args: Any) -> SafeString:
    """Return the link to the page above this one."""
    return format_html(
        '<a class="row crumb" href="{}">{}{}</a>',
        reverse(view, args=args),
        icon("left"),
        label,
    )


@register.simple_tag
def url_with(view: str, query: str | None) -> str:
    """Return a page's URL, with the query if there is one."""
    return f"{reverse(view)}?{query}" if query else reverse(view)


@register.simple_tag
def chip(text: object, tone: str = "") -> SafeString:
    """Return a chip: a word or two, with colour and shape if it has a `tone`."""
    look = f"chip {tone} shape" if tone else "chip"
    return format_html('<span class="{}">{}</span>', look, text)


@register.simple_tag
def stuck_chip(kind: str) -> SafeString:
    """Return the chip for a kind of item that needs attention."""
    return chip(*words.STUCK.get(kind, (kind, "plain")))


@register.simple_tag
def fact(name: str, value: object, look: str = "") -> SafeString | str:
    """Return a line of `dl.pairs`; nothing if there is no value."""
    if value is None or value == "":
        return ""
    attributes = flatatt({"class": look or None})
    return format_html("<dt>{}</dt><dd{}>{}</dd>", name, attributes, value)


@register.simple_tag
def table_head(*names: str) -> SafeString:
    """Return the head of a table with a column for each name that is not empty."""
    cells = ((name,) for name in names if name)
    row = format_html_join("", '<th scope="col">{}</th>', cells)
    return format_html("<thead><tr>{}</tr></thead>", row)
