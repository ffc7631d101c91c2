"""The tag around the files that a page names together: one address where they were
bundled, else each by itself.
"""

from typing import Any

from django import template
from django.contrib.staticfiles.storage import staticfiles_storage
from django.template.base import FilterExpression, NodeList, Parser, Token
from django.utils.html import format_html

from dashboard.frame.bundles import bundled

register = template.Library()


class BundleNode(template.Node):
    """Style sheets or scripts, by the ending of the bundle's name."""

    def __init__(self, name: FilterExpression, files: NodeList) -> None:
        self.name = name
        self.files = files

    def render(self, context: template.Context) -> Any:
        name = str(self.name.resolve(context))
        # A lazy object is an instance of what it stands for.
        address = bundled(name, staticfiles_storage)
        if not address:
            return self.files.render(context)
        if name.endswith(".css"):
            return format_html('<link rel="stylesheet" href="{}">', address)
        return format_html('<script src="{}" defer></script>', address)


@register.tag
def bundle(parser: Parser, token: Token) -> BundleNode:
    """Read `{% bundle 'desk.css' %}...{% endbundle %}`."""
    name = parser.compile_filter(token.split_contents()[1])
    files = parser.parse(("endbundle",))
    parser.delete_first_token()
    return BundleNode(name, files)
