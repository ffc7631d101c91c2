"""The block tag around the style sheets or scripts of a page. If these were joined into
a bundle (`dashboard.frame.bundles`), one tag for the bundle replaces them.
"""

from django import template
from django.contrib.staticfiles.storage import staticfiles_storage
from django.utils.html import format_html
from django.utils.safestring import SafeString

from dashboard.frame.bundles import FOLDER, BundlingStorage

register = template.Library()


@register.simple_block_tag
def bundle(content: SafeString, name: str) -> SafeString:
    """Return the HTML tag for a bundle, or the block's content if no bundle was
    collected: `{% bundle 'desk.css' %}...{% endbundle %}`. The ending of the name says
    whether these are style sheets or scripts.
    """
    # This is a lazy object, but isinstance() sees the storage for which it stands.
    if not isinstance(staticfiles_storage, BundlingStorage):
        return content
    try:
        address = staticfiles_storage.url(f"{FOLDER}/{name}")
    except ValueError:
        return content
    if name.endswith(".css"):
        return format_html('<link rel="stylesheet" href="{}">', address)
    return format_html('<script type="module" src="{}"></script>', address)
