"""Discord's documented limits of messages, buttons, forms and commands, and its tree of
errors. Pure.
"""

import re
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

# The types of components, and the style of a button that is a link.
ROW = 1
BUTTON = 2
TEXT_INPUT = 4
LABEL = 18
LINK = 5
# The types of commands and of their options.
CHAT_INPUT = 1
STRING = 3
MAX_INPUT = 4000
MAX_EMBED_CHARACTERS = 6000

Path = tuple[str | int, ...]
# Where it is, its code, and what is said about it.
Error = tuple[Path, str, str]
# Finds what is wrong with a value that is there, at its path.
Check = Callable[[Any, Path], Iterator[Error]]


def _tree(errors: Iterator[Error]) -> dict[str, Any]:
    """Return the nested `errors` object of code 50035; empty when all is well."""
    tree: dict[str, Any] = {}
    for path, code, message in errors:
        node = tree
        for step in path:
            node = node.setdefault(str(step), {})
        node.setdefault("_errors", []).append({"code": code, "message": message})
    return tree


def _missing(path: Path) -> Error:
    return path, "BASE_TYPE_REQUIRED", "This field is required"


def _fields(*needed: str, **checks: Check) -> Check:
    """Return the check of an object; those of its fields that are `needed` are neither
    missing nor blank.
    """

    def check(value: Any, path: Path) -> Iterator[Error]:
        if not isinstance(value, dict):
            yield path, "DICT_TYPE_CONVERT", "Only dictionaries may be used here."
            return
        for name, check_field in checks.items():
            part = value.get(name)
            if name in needed and (part is None or not str(part).strip()):
                yield _missing((*path, name))
            elif part is not None:
                yield from check_field(part, (*path, name))

    return check


def _list(most: int, check_one: Check, *, least: int = 0) -> Check:
    def check(value: Any, path: Path) -> Iterator[Error]:
        if not isinstance(value, list):
            yield path, "LIST_TYPE_CONVERT", "Only lists may be used here."
            return
        if len(value) > most:
            yield path, "BASE_TYPE_MAX_LENGTH", f"Must be {most} or fewer in length."
        elif len(value) < least:
            yield path, "BASE_TYPE_BAD_LENGTH", f"Must be {least} or more in length."
        for number, one in enumerate(value):
            yield from check_one(one, (*path, number))

    return check


def _then(first: Check, more: Check) -> Check:
    """Return a check that goes on to `more` only where the first found nothing."""

    def check(value: Any, path: Path) -> Iterator[Error]:
        errors = list(first(value, path))
        yield from errors or more(value, path)

    return check


def _text(most: int) -> Check:
    def check(value: Any, path: Path) -> Iterator[Error]:
        if not isinstance(value, str):
            yield path, "STRING_TYPE_CONVERT", f'Could not interpret "{value}" as text.'
        elif len(value) > most:
            yield path, "BASE_TYPE_MAX_LENGTH", f"Must be {most} or fewer in length."

    return check


def _number(least: int, most: int) -> Check:
    def check(value: Any, path: Path) -> Iterator[Error]:
        if type(value) is not int or not least <= value <= most:
            yield path, "NUMBER_TYPE_MAX", f"Must be a number from {least} to {most}."

    return check


def _one_of(*choices: int | str) -> Check:
    def check(value: Any, path: Path) -> Iterator[Error]:
        if value not in choices:
            yield path, "BASE_TYPE_CHOICES", f"Value must be one of {choices}."

    return check


def _no_reserved_word(value: Any, path: Path) -> Iterator[Error]:
    for word in ("discord", "clyde"):
        if word in str(value).lower():
            message = f'Username cannot contain "{word}"'
            yield path, "USERNAME_INVALID_CONTAINS", message


_WEB = re.compile(r"https?://[^/?#]")
_WEB_OR_APP = re.compile(r"(https?|discord)://[^/?#]")


def _link(most: int, begins: re.Pattern[str] = _WEB) -> Check:
    def check(value: Any, path: Path) -> Iterator[Error]:
        if not begins.match(str(value)):
            yield path, "URL_TYPE_INVALID_URL", "Not a well formed URL."
        yield from _text(most)(value, path)

    return check


def _moment(value: Any, path: Path) -> Iterator[Error]:
    try:
        datetime.fromisoformat(str(value))
    except ValueError:
        yield path, "DATE_TIME_TYPE_PARSE", f"Could not parse {value} as ISO8601."


_embed = _fields(
    title=_text(256),
    description=_text(4096),
    url=_link(2048),
    color=_number(0, 0xFFFFFF),
    timestamp=_moment,
    footer=_fields("text", text=_text(2048), url=_link(2048), icon_url=_link(2048)),
    author=_fields("name", name=_text(256), url=_link(2048), icon_url=_link(2048)),
    fields=_list(25, _fields("name", "value", name=_text(256), value=_text(1024))),
)


def _embed_size(value: Any, path: Path) -> Iterator[Error]:
    total = 0
    for embed in value:
        texts = [embed.get("title"), embed.get("description")]
        texts.append((embed.get("footer") or {}).get("text"))
        texts.append((embed.get("author") or {}).get("name"))
        for entry in embed.get("fields") or []:
            texts += [entry["name"], entry["value"]]
        total += sum(len(text) for text in texts if text)
    if total > MAX_EMBED_CHARACTERS:
        message = f"Embed size exceeds maximum size of {MAX_EMBED_CHARACTERS}"
        yield path, "MAX_EMBED_SIZE_EXCEEDED", message


_ids = _list(100, _text(20))
_kinds = _list(3, _one_of("roles", "users", "everyone"))


def _exclusive(value: Any, path: Path) -> Iterator[Error]:
    for kind in ("users", "roles"):
        if kind in (value.get("parse") or []) and value.get(kind):
            message = f'parse:["{kind}"] and {kind}: [ids...] are mutually exclusive.'
            yield path, "MESSAGE_ALLOWED_MENTIONS_PARSE_EXCLUSIVE", message


_any_button = _fields(
    "type",
    "style",
    "label",
    type=_one_of(BUTTON),
    style=_one_of(1, 2, 3, 4, LINK),
    label=_text(80),
    url=_link(512, _WEB_OR_APP),
    custom_id=_text(100),
)


def _button(value: Any, path: Path) -> Iterator[Error]:
    yield from _any_button(value, path)
    if not isinstance(value, dict):
        return
    is_link = value.get("style") == LINK
    wanted = "url" if is_link else "custom_id"
    if not value.get(wanted):
        yield _missing((*path, wanted))
    if is_link and value.get("custom_id") is not None:
        code = "BUTTON_COMPONENT_CUSTOM_ID_URL_MUTUALLY_EXCLUSIVE"
        message = "A custom id and url cannot both be specified"
        yield (*path, "custom_id"), code, message


_row = _fields(
    "type", "components", type=_one_of(ROW), components=_list(5, _button, least=1)
)


def _unique_ids(value: Any, path: Path) -> Iterator[Error]:
    seen = set()
    for number, row in enumerate(value):
        for position, button in enumerate(row["components"]):
            custom_id = button.get("custom_id")
            if custom_id is not None and custom_id in seen:
                at = (*path, number, "components", position, "custom_id")
                message = "Component custom id cannot be duplicated"
                yield at, "COMPONENT_CUSTOM_ID_DUPLICATED", message
            seen.add(custom_id)


_message = _fields(
    content=_text(2000),
    username=_then(_text(80), _no_reserved_word),
    embeds=_then(_list(10, _embed), _embed_size),
    allowed_mentions=_then(_fields(parse=_kinds, users=_ids, roles=_ids), _exclusive),
    components=_then(_list(5, _row), _unique_ids),
)


def find_errors(payload: object) -> dict[str, Any]:
    """Return Discord's tree of errors for the body of an execute or edit request, empty
    when it is acceptable.
    """
    return _tree(_message(payload, ()))


_labelled = _fields(
    "type",
    "label",
    "component",
    type=_one_of(LABEL),
    label=_text(45),
    description=_text(100),
    component=_fields(
        "type",
        "style",
        "custom_id",
        type=_one_of(TEXT_INPUT),
        style=_one_of(1, 2),
        custom_id=_text(100),
        min_length=_number(0, MAX_INPUT),
        max_length=_number(1, MAX_INPUT),
        # What an input had before it stood under a label; nothing is allowed there now.
        label=_one_of(),
    ),
)
_form = _fields(
    "title",
    "custom_id",
    "components",
    title=_text(45),
    custom_id=_text(100),
    components=_list(5, _labelled, least=1),
)


def find_form_errors(form: object) -> dict[str, Any]:
    """Return what is wrong with a modal; Discord tells the user only that something
    went wrong.
    """
    return _tree(_form(form, ()))


def _command_name(value: Any, path: Path) -> Iterator[Error]:
    name = str(value)
    if not re.fullmatch(r"[-_\w]{1,32}", name) or name != name.lower():
        yield path, "APPLICATION_COMMAND_INVALID_NAME", "Command name is invalid"


_option = _fields(
    "type",
    "name",
    "description",
    type=_one_of(STRING),
    name=_command_name,
    description=_text(100),
)


def _required_first(value: Any, path: Path) -> Iterator[Error]:
    needed = [bool(one.get("required")) for one in value]
    if needed != sorted(needed, reverse=True):
        message = "Required options must be placed before non-required options"
        yield path, "APPLICATION_COMMAND_OPTIONS_REQUIRED_INVALID", message


_command = _fields(
    "name",
    "description",
    type=_one_of(CHAT_INPUT),
    name=_command_name,
    description=_text(100),
    options=_then(_list(25, _option), _required_first),
)


def _unique_names(value: Any, path: Path) -> Iterator[Error]:
    names = [one["name"] for one in value]
    for number, name in enumerate(names):
        if name in names[:number]:
            message = "Application command names must be unique"
            yield (number, "name"), "APPLICATION_COMMANDS_DUPLICATE_NAME", message


_commands = _then(_list(100, _command), _unique_names)


def find_command_errors(commands: object) -> dict[str, Any]:
    """Return Discord's tree of errors for a whole set of commands; only options that
    are text are known here.
    """
    return _tree(_commands(commands, ()))
