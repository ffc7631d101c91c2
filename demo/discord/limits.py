"""Discord's documented limits of a webhook message, and the tree of errors it answers with. Pure."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

MAX_EMBEDS = 10
MAX_FIELDS = 25
MAX_EMBED_CHARACTERS = 6000
MAX_COLOUR = 0xFFFFFF

Path = tuple[str | int, ...]


class FormErrors:
    """Collects errors by path and gives them back as the nested `errors` object of code 50035."""

    def __init__(self) -> None:
        """Start with none."""
        # It is empty when all is well.
        self.tree: dict[str, Any] = {}

    def add(self, path: Path, code: str, message: str) -> None:
        """Note one error of the value at `path`."""
        node = self.tree
        for step in path:
            node = node.setdefault(str(step), {})
        node.setdefault("_errors", []).append({"code": code, "message": message})


def find_errors(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Return Discord's tree of errors for the body of an execute or edit request, empty when it is acceptable."""
    errors = FormErrors()
    _text(errors, payload, "content", 2000, ())
    _text(errors, payload, "username", 80, ())
    for word in ("discord", "clyde"):
        if isinstance(payload.get("username"), str) and word in payload["username"].lower():
            errors.add(("username",), "USERNAME_INVALID_CONTAINS", f'Username cannot contain "{word}"')
    embeds = payload.get("embeds")
    for path, embed in _objects(errors, embeds, ("embeds",), MAX_EMBEDS):
        _embed(errors, embed, path)
    objects = [embed for embed in embeds if isinstance(embed, dict)] if isinstance(embeds, list) else []
    if sum(map(_characters, objects)) > MAX_EMBED_CHARACTERS:
        message = f"Embed size exceeds maximum size of {MAX_EMBED_CHARACTERS}"
        errors.add(("embeds",), "MAX_EMBED_SIZE_EXCEEDED", message)
    _mentions(errors, payload.get("allowed_mentions"))
    return errors.tree


def is_empty(content: str, embeds: list[Any], components: list[Any]) -> bool:
    """Return whether nothing would be seen, which Discord refuses with 50006."""
    shown = ("title", "description", "fields", "author", "footer", "image", "thumbnail")
    return not content.strip() and not components and not any(embed.get(part) for embed in embeds for part in shown)


def _objects(errors: FormErrors, value: object, path: Path, most: int) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield the objects of a list that may be left out, each with its path, and note what is wrong with the others."""
    if value is None:
        return
    if not isinstance(value, list):
        errors.add(path, "LIST_TYPE_CONVERT", "Only iterables may be used in a ListType")
        return
    if len(value) > most:
        errors.add(path, "BASE_TYPE_MAX_LENGTH", f"Must be {most} or fewer in length.")
    for number, one in enumerate(value):
        if isinstance(one, dict):
            yield (*path, number), one
        else:
            _not_an_object(errors, (*path, number))


def _embed(errors: FormErrors, embed: dict[str, Any], path: Path) -> None:
    _text(errors, embed, "title", 256, path)
    _text(errors, embed, "description", 4096, path)
    _link(errors, embed, "url", path)
    colour = embed.get("color")
    moment = embed.get("timestamp")
    if isinstance(colour, bool) or not isinstance(colour, int | None):
        errors.add((*path, "color"), "NUMBER_TYPE_COERCE", f'Value "{colour}" is not int.')
    elif colour is not None and not 0 <= colour <= MAX_COLOUR:
        errors.add((*path, "color"), "NUMBER_TYPE_MAX", f"int value should be between 0 and {MAX_COLOUR}.")
    try:
        datetime.fromisoformat("2026-01-01" if moment is None else str(moment))
    except ValueError:
        errors.add((*path, "timestamp"), "DATE_TIME_TYPE_PARSE", f"Could not parse {moment}. Should be ISO8601.")
    _part(errors, embed, "footer", ("text", 2048), path)
    _part(errors, embed, "author", ("name", 256), path)
    for field_path, entry in _objects(errors, embed.get("fields"), (*path, "fields"), MAX_FIELDS):
        _text(errors, entry, "name", 256, field_path, required=True)
        _text(errors, entry, "value", 1024, field_path, required=True)


def _part(errors: FormErrors, embed: dict[str, Any], name: str, limit: tuple[str, int], path: Path) -> None:
    part = embed.get(name)
    if isinstance(part, dict):
        _text(errors, part, limit[0], limit[1], (*path, name), required=True)
        for link in ("url", "icon_url"):
            _link(errors, part, link, (*path, name))
    elif part is not None:
        _not_an_object(errors, (*path, name))


def _text(
    errors: FormErrors, holder: Mapping[str, Any], name: str, most: int, path: Path, *, required: bool = False
) -> None:
    value = holder.get(name)
    if value is not None and not isinstance(value, str | int | float):
        errors.add((*path, name), "STRING_TYPE_CONVERT", f'Could not interpret "{value}" as string.')
    elif required and (value is None or not str(value).strip()):
        errors.add((*path, name), "BASE_TYPE_REQUIRED", "This field is required")
    elif value is not None and len(str(value)) > most:
        errors.add((*path, name), "BASE_TYPE_MAX_LENGTH", f"Must be {most} or fewer in length.")


def _link(errors: FormErrors, holder: Mapping[str, Any], name: str, path: Path) -> None:
    value = holder.get(name)
    if value is None:
        return
    try:
        parts = urlsplit(str(value))
    except ValueError:
        parts = urlsplit("")
    is_web = parts.scheme in ("http", "https")
    if not parts.netloc and (is_web or not parts.scheme or not parts.path):
        errors.add((*path, name), "URL_TYPE_INVALID_URL", "Not a well formed URL.")
    elif not is_web:
        message = f"Scheme \"{parts.scheme}\" is not supported. Scheme must be one of ('http', 'https')."
        errors.add((*path, name), "URL_TYPE_INVALID_SCHEME", message)
    elif len(str(value)) > 2048:
        errors.add((*path, name), "BASE_TYPE_MAX_LENGTH", "Must be 2048 or fewer in length.")


def _mentions(errors: FormErrors, allowed: object) -> None:
    if allowed is None:
        return
    if not isinstance(allowed, dict):
        _not_an_object(errors, ("allowed_mentions",))
        return
    parse = allowed.get("parse") or []
    for number, kind in enumerate(parse):
        if kind not in ("roles", "users", "everyone"):
            message = "Value must be one of ('users', 'roles', 'everyone')."
            errors.add(("allowed_mentions", "parse", number), "BASE_TYPE_CHOICES", message)
    for kind in ("users", "roles"):
        if len(allowed.get(kind) or []) > 100:
            errors.add(("allowed_mentions", kind), "BASE_TYPE_MAX_LENGTH", "Must be 100 or fewer in length.")
        if kind in parse and allowed.get(kind):
            message = f'parse:["{kind}"] and {kind}: [ids...] are mutually exclusive.'
            errors.add(("allowed_mentions",), "MESSAGE_ALLOWED_MENTIONS_PARSE_EXCLUSIVE", message)


def _not_an_object(errors: FormErrors, path: Path) -> None:
    errors.add(path, "DICT_TYPE_CONVERT", "Only dictionaries may be used in a DictType")


def _characters(embed: dict[str, Any]) -> int:
    texts = [embed.get("title"), embed.get("description")]
    for part, name in (("footer", "text"), ("author", "name")):
        holder = embed.get(part)
        texts.append(holder.get(name) if isinstance(holder, dict) else None)
    fields = embed.get("fields")
    for entry in fields if isinstance(fields, list) else []:
        texts += [entry.get("name"), entry.get("value")] if isinstance(entry, dict) else []
    return sum(len(str(text)) for text in texts if text is not None)
