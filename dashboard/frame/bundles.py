"""Joins the style sheets and the scripts of pages into a few files, called bundles,
when static files are collected.

The template base.html says which files form a bundle: those between `{% bundle 'NAME'
%}` and `{% endbundle %}`.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.files.base import ContentFile
from rjsmin import jsmin
from whitenoise.storage import CompressedManifestStaticFilesStorage

# The template that names the bundles, and the folder that they are written to.
TEMPLATE = "base.html"
FOLDER = "bundle"
# Matches a bundle in the template, with its name and its content; and in that a file.
_BUNDLE = re.compile(
    r"{% bundle '([a-z.]+)' %}((?:[^{]++|\{(?!% (?:end)?bundle))*+){% endbundle %}"
)
_NAMED = re.compile(r"{% static '([^']+)' %}")
# Match white space that a style sheet does not need, and comments on their own lines.
_AROUND = re.compile(r"([{};,])\s*+|(?<!\s)\s++(?=[{};,])|(?<=[a-z0-9])(:) ++")
_COMMENT = re.compile(
    r"^[ \t]*+/\*(?:[^*/]++|\*(?!/)|/(?!\*))*+\*/[ \t]*+\n?", re.MULTILINE
)


class BundlingStorage(CompressedManifestStaticFilesStorage):  # type: ignore[misc]
    """Collects static files, and adds a file for each bundle, which is hashed and
    compressed like all others.
    """

    def post_process(
        self, paths: dict[str, Any], dry_run: bool = False, **options: Any
    ) -> Iterator[Any]:
        if not dry_run:
            for name, files in bundles().items():
                content = "\n".join(
                    plain(Path(self.path(file)).read_text(), name) for file in files
                )
                path = f"{FOLDER}/{name}"
                if self.exists(path):
                    self.delete(path)
                self._save(path, ContentFile(content.encode()))
                paths[path] = (self, path)
        yield from super().post_process(paths, dry_run, **options)


def bundles() -> dict[str, list[str]]:
    """Return the files of each bundle by its name, in the order of the template."""
    text = (Path(settings.BASE_DIR) / "templates" / TEMPLATE).read_text()
    return {name: _NAMED.findall(block) for name, block in _BUNDLE.findall(text)}


def plain(text: str, name: str) -> str:
    """Return a style sheet or script without comments and needless white space. A block
    keeps the names of a script to itself, as in a module of its own.
    """
    if name.endswith(".js"):
        return f"{{{jsmin(text)}}}"
    return _AROUND.sub(
        lambda match: match[1] or match[2] or "", _COMMENT.sub("", text)
    ).strip()
