"""The pages' outer HTML and their static files, read once from `demo/assets`. Puts
things in; escapes nothing.
"""

from functools import cache
from pathlib import Path
from string import Template

from demo.web import Answer

_ASSETS = Path(__file__).parent / "assets"
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


def fill(shell: str, **parts: str) -> str:
    """Return the template `shell` with its placeholders filled. Callers escape."""
    return _template(shell).substitute(parts, icons=_text("icons.html"))


def asset(name: str) -> Answer | None:
    """Return a static file, or nothing when there is none of that name."""
    path = _ASSETS / name
    if path.suffix not in _TYPES or path.parent != _ASSETS or not path.is_file():
        return None
    return Answer(200, path.read_bytes(), _TYPES[path.suffix])


@cache
def _template(name: str) -> Template:
    return Template(_text(name))


@cache
def _text(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")
