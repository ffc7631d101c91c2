"""Bundles the style sheets and scripts of every page, and those of an open message,
when static files are collected.

A page's template says which files form a bundle.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.files.base import ContentFile
from rjsmin import jsmin
from whitenoise.storage import CompressedManifestStaticFilesStorage

TEMPLATE = "base.html"
FOLDER = "bundle"
_BUNDLE = re.compile(
    r"{% bundle '([a-z.]+)' %}((?:[^{]++|\{(?!% (?:end)?bundle))*+){% endbundle %}"
)
_NAMED = re.compile(r"{% static '([^']+)' %}")
_AROUND = re.compile(r"([{};,])\s*+|(?<!\s)\s++(?=[{};,])|(?<=[a-z0-9])(:) ++")
_COMMENT = re.compile(
    r"^[ \t]*+/\*(?:[^*/]++|\*(?!/)|/(?!\*))*+\*/[ \t]*+\n?", re.MULTILINE
)


class BundlingStorage(CompressedManifestStaticFilesStorage):  # type: ignore[misc]
    """Collected static files with a bundle for each block of the template, hashed and
    compressed as all others are.
    """

    def post_process(
        self, paths: dict[str, Any], dry_run: bool = False, **options: Any
    ) -> Iterator[Any]:
        if not dry_run:
            for name, files in bundles().items():
                whole = "\n".join(
                    plain(Path(self.path(file)).read_text(), name) for file in files
                )
                path = f"{FOLDER}/{name}"
                if self.exists(path):
                    self.delete(path)
                self._save(path, ContentFile(whole.encode()))
                paths[path] = (self, path)
        yield from super().post_process(paths, dry_run, **options)


def bundles() -> dict[str, list[str]]:
    """Return the names of the bundles, each with its files in order, as the template
    has them.
    """
    text = (Path(settings.BASE_DIR) / "templates" / TEMPLATE).read_text()
    return {name: _NAMED.findall(block) for name, block in _BUNDLE.findall(text)}


def bundled(name: str, storage: Any) -> str:
    """Return the URL of a bundle; empty if none was collected, as in tests."""
    if not isinstance(storage, BundlingStorage):
        return ""
    try:
        return str(storage.url(f"{FOLDER}/{name}"))
    except ValueError:
        return ""


def plain(text: str, name: str) -> str:
    """Return a style sheet or script without comments and needless white space."""
    if name.endswith(".js"):
        return str(jsmin(text))
    return _AROUND.sub(
        lambda found: found[1] or found[2] or "", _COMMENT.sub("", text)
    ).strip()
