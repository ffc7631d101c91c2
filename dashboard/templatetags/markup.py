"""Template tags for markup that many pages share: forms, errors of a page or a field,
links back, status chips.
"""

from typing import Any

from django import template
from django.forms.utils import flatatt
from django.shortcuts import resolve_url
from django.template.context import RequestContext
from django.template.defaulttags import CsrfTokenNode
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from dashboard.templatetags.desk import icon

register = template.Library()


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
    named = {name.replace("_", "-"): value for name, value in attributes.items()}
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
    classes = {"class": form} if form else {}
    return post_form(context, button, to, *args, suffix=suffix, **classes)


@register.simple_block_tag
def card(
    content: SafeString, title: str, label: str, image: str = "", **attributes: str
) -> SafeString:
    """Return a card under a heading with the id `label`: `{% card "Signing in" "in"
    "key" %}...{% endcard %}`. A `class` is one more.
    """
    classes = f"card pad {attributes.pop('class', '')}".rstrip()
    named = {"class": classes, "aria-labelledby": label, **attributes}
    return format_html(
        '<section{}><div class="row wrap card-head">{}<h2 id="{}">{}</h2></div>{}</section>',
        flatatt(named),
        icon(image) if image else "",
        label,
        title,
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
def empty_state(content: SafeString, title: str, image: str) -> SafeString:
    """Return what stands in the place of a list without rows."""
    return format_html(
        '<div class="empty">{}<p class="title">{}</p>{}</div>',
        icon(image),
        title,
        content,
    )


@register.simple_block_tag
def notice(
    content: SafeString, tone: str, image: str, **attributes: str | bool
) -> SafeString:
    """Return a notice: `{% notice "amber" "warn" %}Why, and what to do{% endnotice %}`."""
    named = {"class": f"notice {tone}".rstrip(), **attributes}
    return format_html(
        '<div{}>{}<div class="whole">{}</div></div>',
        flatatt(named),
        icon(image),
        content,
    )


@register.simple_tag
def page_error(sentence: str | None) -> SafeString | str:
    """Return a notice with the reason why something was refused; nothing if there is
    none.
    """
    if not sentence:
        return ""
    strong = format_html("<strong>{}</strong>", sentence)
    return notice(strong, "rose", "warn", role="alert")


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
def invalid(wrong: object, error_id: str, note_id: str = "") -> SafeString | str:
    """Return the attributes of a field that tie it to its note and, if it is `wrong`,
    to its error.
    """
    described = " ".join(filter(None, (note_id, error_id if wrong else "")))
    attributes = format_html('aria-describedby="{}"', described) if described else ""
    return format_html('{} aria-invalid="true"', attributes) if wrong else attributes


@register.simple_tag
def crumb(words: str, view: str, *args: Any) -> SafeString:
    """Return the link to the page above this one."""
    return format_html(
        '<a class="row crumb" href="{}">{}{}</a>',
        reverse(view, args=args),
        icon("left"),
        words,
    )


@register.simple_tag
def url_with(view: str, query: str | None) -> str:
    """Return a page's URL, with the query if there is one."""
    return f"{reverse(view)}?{query}" if query else reverse(view)


@register.simple_tag
def status_chip(status: Any) -> SafeString:
    """Return a message's status chip: a word with its colour and shape."""
    return format_html(
        '<span class="chip shape {}">{}</span>', status.css_classes, status.word
    )
