"""The desk as an app that a browser installs."""

from django.contrib.auth.decorators import login_not_required
from django.contrib.staticfiles import finders
from django.http import FileResponse, JsonResponse
from django.templatetags.static import static
from django.views.decorators.http import require_safe

from common.pages import DeskRequest


@login_not_required
@require_safe
def service_worker(request: DeskRequest) -> FileResponse:
    """Return the script that shows what is pushed. It stands at the root, because a
    browser lets it act only for pages below its own address.
    """
    path = finders.find("js/service_worker.js")
    assert isinstance(path, str)
    return FileResponse(open(path, "rb"), content_type="text/javascript")


@login_not_required
@require_safe
def manifest(request: DeskRequest) -> JsonResponse:
    """Return what a browser needs to install the desk as an app."""
    icons = [
        {"src": static(f"icons/seal-{size}.png"), "sizes": f"{size}x{size}"}
        for size in (192, 512)
    ]
    content = {
        "name": "Countersign",
        "start_url": "/queue/",
        "display": "standalone",
        "background_color": "#fbfaf8",
        "theme_color": "#fbfaf8",
        "icons": [{**one, "type": "image/png", "purpose": "any"} for one in icons],
    }
    return JsonResponse(content, content_type="application/manifest+json")
