"""Discord's documented limits of messages, buttons, forms and commands, and its tree of
errors. Pure.
"""

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

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
_COMMAND_NAME = re.compile(r"[-_\w]{1,32}")

Path = tuple[str | int, ...]


class FormErrors:
    """Collects errors by path and gives them back as the nested `errors` object of code
    50035.
    """

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

    def add_missing(self, path: Path) -> None:
        """Note that there is no value at `path`."""
        self.add(path, "BASE_TYPE_REQUIRED", "This field is required")

    def add_too_long(self, path: Path, most: int) -> None:
        """Note that the value has more than so many parts."""
        message = f"Must be {most} or fewer in length."
        self.add(path, "BASE_TYPE_MAX_LENGTH", message)


# Notes what is wrong with a value that is there, at its path.
Check = Callable[[FormErrors, Any, Path], None]


def _errors_of(check: Check, value: object, *path: str) -> dict[str, Any]:
    errors = FormErrors()
    check(errors, value, path)
    return errors.tree


def _fields(*needed: str, **checks: Check) -> Check:
    """Return the check of an object; those of its fields that are `needed` are neither
    missing nor blank.
    """

    def check(errors: FormErrors, value: Any, path: Path) -> None:
        if not isinstance(value, dict):
            message = "Only dictionaries may be used in a DictType"
            errors.add(path, "DICT_TYPE_CONVERT", message)
            return
        for name, check_field in checks.items():
            part = value.get(name)
            if name in needed and (part is None or not str(part).strip()):
                errors.add_missing((*path, name))
            elif part is not None:
                check_field(errors, part, (*path, name))

    return check


def _list(most: int, check_one: Check, *, least: int = 0) -> Check:
    def check(errors: FormErrors, value: Any, path: Path) -> None:
        if not isinstance(value, list):
            message = "Only iterables may be used in a ListType"
            errors.add(path, "LIST_TYPE_CONVERT", message)
            return
        if len(value) > most:
            errors.add_too_long(path, most)
        elif len(value) < least:
            message = f"Must be between {least} and {most} in length."
            errors.add(path, "BASE_TYPE_BAD_LENGTH", message)
        for number, one in enumerate(value):
            check_one(errors, one, (*path, number))

    return check


def _text(most: int) -> Check:
    def check(errors: FormErrors, value: Any, path: Path) -> None:
        if not isinstance(value, str):
            message = f'Could not interpret "{value}" as string.'
            errors.add(path, "STRING_TYPE_CONVERT", message)
        elif len(value) > most:
            errors.add_too_long(path, most)

    return check


def _number(least: int, most: int) -> Check:
    def check(errors: FormErrors, value: Any, path: Path) -> None:
        if isinstance(value, bool) or not isinstance(value, int):
            errors.add(path, "NUMBER_TYPE_COERCE", f'Value "{value}" is not int.')
        elif not least <= value <= most:
            message = f"int value should be between {least} and {most}."
            errors.add(path, "NUMBER_TYPE_MAX", message)

    return check


def _one_of(*choices: int | str) -> Check:
    def check(errors: FormErrors, value: Any, path: Path) -> None:
        if value not in choices:
            errors.add(path, "BASE_TYPE_CHOICES", f"Value must be one of {choices}.")

    return check


def _link(most: int, *schemes: str) -> Check:
    def check(errors: FormErrors, value: Any, path: Path) -> None:
        try:
            parts = urlsplit(str(value))
        except ValueError:
            parts = urlsplit("")
        if parts.scheme and parts.scheme not in schemes:
            message = f'Scheme "{parts.scheme}" is not supported. Scheme must be one of {schemes}.'
            errors.add(path, "URL_TYPE_INVALID_SCHEME", message)
        elif not parts.netloc:
            errors.add(path, "URL_TYPE_INVALID_URL", "Not a well formed URL.")
        else:
            _text(most)(errors, value, path)

    return check


def _moment(errors: FormErrors, value: Any, path: Path) -> None:
    try:
        datetime.fromisoformat(str(value))
    except ValueError:
        message = f"Could not parse {value}. Should be ISO8601."
        errors.add(path, "DATE_TIME_TYPE_PARSE", message)


_web_link = _link(2048, "http", "https")
_embed = _fields(
    title=_text(256),
    description=_text(4096),
    url=_web_link,
    color=_number(0, 0xFFFFFF),
    timestamp=_moment,
    footer=_fields("text", text=_text(2048), url=_web_link, icon_url=_web_link),
    author=_fields("name", name=_text(256), url=_web_link, icon_url=_web_link),
    fields=_list(25, _fields("name", "value", name=_text(256), value=_text(1024))),
)


def _embeds(errors: FormErrors, value: Any, path: Path) -> None:
    _list(10, _embed)(errors, value, path)
    if errors.tree.get("embeds"):
        return
    texts: list[str | None] = []
    for embed in value:
        texts += [embed.get("title"), embed.get("description")]
        texts.append((embed.get("footer") or {}).get("text"))
        texts.append((embed.get("author") or {}).get("name"))
        for entry in embed.get("fields") or []:
            texts += [entry["name"], entry["value"]]
    if sum(len(text) for text in texts if text) > MAX_EMBED_CHARACTERS:
        message = f"Embed size exceeds maximum size of {MAX_EMBED_CHARACTERS}"
        errors.add(path, "MAX_EMBED_SIZE_EXCEEDED", message)


def _username(errors: FormErrors, value: Any, path: Path) -> None:
    _text(80)(errors, value, path)
    for word in ("discord", "clyde"):
        if word in str(value).lower():
            message = f'Username cannot contain "{word}"'
            errors.add(path, "USERNAME_INVALID_CONTAINS", message)


def _mentions(errors: FormErrors, value: Any, path: Path) -> None:
    some = _list(100, _text(20))
    _fields(
        parse=_list(3, _one_of("roles", "users", "everyone")), users=some, roles=some
    )(errors, value, path)
    for kind in ("users", "roles"):
        if (
            not errors.tree.get("allowed_mentions")
            and kind in (value.get("parse") or [])
            and value.get(kind)
        ):
            message = f'parse:["{kind}"] and {kind}: [ids...] are mutually exclusive.'
            errors.add(path, "MESSAGE_ALLOWED_MENTIONS_PARSE_EXCLUSIVE", message)


_any_button = _fields(
    "type",
    "style",
    "label",
    type=_one_of(BUTTON),
    style=_one_of(1, 2, 3, 4, LINK),
    label=_text(80),
    url=_link(512, "http", "https", "discord"),
    custom_id=_text(100),
)


def _button(errors: FormErrors, value: Any, path: Path) -> None:
    _any_button(errors, value, path)
    if not isinstance(value, dict):
        return
    wanted = "url" if value.get("style") == LINK else "custom_id"
    if not value.get(wanted):
        errors.add_missing((*path, wanted))
    if wanted == "url" and value.get("custom_id") is not None:
        message = "A custom id and url cannot both be specified"
        code = "BUTTON_COMPONENT_CUSTOM_ID_URL_MUTUALLY_EXCLUSIVE"
        errors.add((*path, "custom_id"), code, message)


_row = _fields(
    "type", "components", type=_one_of(ROW), components=_list(5, _button, least=1)
)


def _rows(errors: FormErrors, value: Any, path: Path) -> None:
    _list(5, _row)(errors, value, path)
    seen = set()
    for number, row in enumerate([] if errors.tree.get("components") else value):
        for position, button in enumerate(row["components"]):
            custom_id = button.get("custom_id")
            if custom_id in seen:
                at = (*path, number, "components", position, "custom_id")
                message = "Component custom id cannot be duplicated"
                errors.add(at, "COMPONENT_CUSTOM_ID_DUPLICATED", message)
            elif custom_id is not None:
                seen.add(custom_id)


_message = _fields(
    content=_text(2000),
    username=_username,
    embeds=_embeds,
    allowed_mentions=_mentions,
    components=_rows,
)


def find_errors(payload: object) -> dict[str, Any]:
    """Return Discord's tree of errors for the body of an execute or edit request, empty
    when it is acceptable.
    """
    return _errors_of(_message, payload)


def is_empty(content: str, embeds: list[Any], components: list[Any]) -> bool:
    """Return whether nothing would be seen, which Discord refuses with 50006."""
    shown = ("title", "description", "fields", "author", "footer", "image", "thumbnail")
    return (
        not content.strip()
        and not components
        and not any(embed.get(part) for embed in embeds for part in shown)
    )


def _refused(errors: FormErrors, value: Any, path: Path) -> None:
    errors.add(path, "BASE_TYPE_CHOICES", "This field is not allowed here.")


_input = _fields(
    "type",
    "style",
    "custom_id",
    type=_one_of(TEXT_INPUT),
    style=_one_of(1, 2),
    custom_id=_text(100),
    min_length=_number(0, MAX_INPUT),
    max_length=_number(1, MAX_INPUT),
    # What an input had before it stood under a label.
    label=_refused,
)
_labelled = _fields(
    "type",
    "label",
    "component",
    type=_one_of(LABEL),
    label=_text(45),
    description=_text(100),
    component=_input,
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
    return _errors_of(_form, form)


def _command_name(errors: FormErrors, value: Any, path: Path) -> None:
    if (
        not isinstance(value, str)
        or not _COMMAND_NAME.fullmatch(value)
        or value != value.lower()
    ):
        errors.add(path, "APPLICATION_COMMAND_INVALID_NAME", "Command name is invalid")


def _options(errors: FormErrors, value: Any, path: Path) -> None:
    option = _fields(
        "type",
        "name",
        "description",
        type=_one_of(STRING),
        name=_command_name,
        description=_text(100),
    )
    _list(25, option)(errors, value, path)
    if not isinstance(value, list):
        return
    needed = [bool(one.get("required")) for one in value if isinstance(one, dict)]
    if needed != sorted(needed, reverse=True):
        message = "Required options must be placed before non-required options"
        errors.add(path, "APPLICATION_COMMAND_OPTIONS_REQUIRED_INVALID", message)


_command = _fields(
    "name",
    "description",
    type=_one_of(CHAT_INPUT),
    name=_command_name,
    description=_text(100),
    options=_options,
)


def find_command_errors(commands: Any) -> dict[str, Any]:
    """Return Discord's tree of errors for a whole set of commands; only options that
    are text are known here.
    """
    errors = FormErrors()
    _list(100, _command)(errors, commands, ())
    names = [] if errors.tree else [one["name"] for one in commands]
    for number, name in enumerate(names):
        if name in names[:number]:
            message = "Application command names must be unique"
            errors.add((number, "name"), "APPLICATION_COMMANDS_DUPLICATE_NAME", message)
    return errors.tree
