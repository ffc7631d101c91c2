"""The tag around the files that a page names together: one address where they were
bundled, else each by itself.
"""

from django import template
from django.contrib.staticfiles.storage import staticfiles_storage
from django.utils.html import format_html
from django.utils.safestring import SafeString

from dashboard.frame.bundles import bundled

register = template.Library()


@register.simple_block_tag
def bundle(content: SafeString, name: str) -> SafeString:
    """Return the address of a bundle of style sheets or scripts, by the ending of its
    name: `{% bundle 'desk.css' %}...{% endbundle %}`.
    """
    # A lazy object is an instance of what it stands for.
    address = bundled(name, staticfiles_storage)
    if not address:
        return content
    if name.endswith(".css"):
        return format_html('<link rel="stylesheet" href="{}">', address)
    return format_html('<script src="{}" defer></script>', address)
