"""Discord's documented limits of rows, buttons and forms. Pure."""

from typing import Any

from demo.discord.limits import FormErrors, Path

ROW = 1
BUTTON = 2
TEXT_INPUT = 4
LABEL = 18
PRIMARY = 1
SECONDARY = 2
SUCCESS = 3
DANGER = 4
LINK = 5
MAX_ROWS = 5
MAX_BUTTONS = 5
MAX_ID = 100
MAX_LABEL = 80
MAX_LINK = 512
MAX_FORM_TITLE = 45
MAX_FIELDS = 5
MAX_FIELD_LABEL = 45
MAX_FIELD_DESCRIPTION = 100
MAX_INPUT = 4000


def find_component_errors(rows: object) -> dict[str, Any]:
    """Return Discord's tree of errors for a message's components, empty when they are acceptable."""
    errors = FormErrors()
    if rows is None:
        return {}
    if not isinstance(rows, list):
        errors.add(("components",), "LIST_TYPE_CONVERT", "Only iterables may be used in a ListType")
        return errors.tree
    if len(rows) > MAX_ROWS:
        errors.add(("components",), "BASE_TYPE_BAD_LENGTH", f"Must be between 1 and {MAX_ROWS} in length.")
    seen: set[str] = set()
    for number, row in enumerate(rows):
        path: Path = ("components", number)
        if not isinstance(row, dict) or row.get("type") != ROW:
            errors.add((*path, "type"), "BASE_TYPE_CHOICES", f'Value of field "type" must be one of ({ROW},).')
            continue
        buttons = row.get("components")
        if not isinstance(buttons, list) or not 1 <= len(buttons) <= MAX_BUTTONS:
            message = f"Must be between 1 and {MAX_BUTTONS} in length."
            errors.add((*path, "components"), "BASE_TYPE_BAD_LENGTH", message)
            continue
        for position, button in enumerate(buttons):
            _button(errors, button, (*path, "components", position), seen)
    return errors.tree


def find_form_errors(form: object) -> list[str]:
    """Return what is wrong with a modal, as paths; Discord tells the user only that something went wrong."""
    if not isinstance(form, dict):
        return ["data"]
    wrong = [] if _fits(form.get("title"), MAX_FORM_TITLE) else ["title"]
    wrong += [] if _fits(form.get("custom_id"), MAX_ID) else ["custom_id"]
    parts = form.get("components")
    if not isinstance(parts, list) or not 1 <= len(parts) <= MAX_FIELDS:
        return [*wrong, "components"]
    return wrong + [f"components.{number}" for number, part in enumerate(parts) if not _is_field(part)]


def _is_field(part: object) -> bool:
    if not isinstance(part, dict) or part.get("type") != LABEL or not _fits(part.get("label"), MAX_FIELD_LABEL):
        return False
    description = part.get("description", "-")
    field = part.get("component")
    if not _fits(description, MAX_FIELD_DESCRIPTION) or not isinstance(field, dict):
        return False
    least = field.get("min_length", 0)
    most = field.get("max_length", MAX_INPUT)
    sizes = isinstance(least, int) and isinstance(most, int) and 0 <= least <= MAX_INPUT and 1 <= most <= MAX_INPUT
    # A label of its own is what an input had before it stood under one, and is refused there.
    is_input = field.get("type") == TEXT_INPUT and field.get("style") in (1, 2) and "label" not in field
    return sizes and is_input and _fits(field.get("custom_id"), MAX_ID)


def _fits(value: object, most: int) -> bool:
    return isinstance(value, str) and 1 <= len(value) <= most


def _button(errors: FormErrors, button: object, path: Path, seen: set[str]) -> None:
    if not isinstance(button, dict) or button.get("type") != BUTTON:
        errors.add((*path, "type"), "BASE_TYPE_CHOICES", f'Value of field "type" must be one of ({BUTTON},).')
        return
    style = button.get("style")
    custom_id = button.get("custom_id")
    url = button.get("url")
    if style not in (PRIMARY, SECONDARY, SUCCESS, DANGER, LINK):
        errors.add((*path, "style"), "BASE_TYPE_CHOICES", 'Value of field "style" must be one of (1, 2, 3, 4, 5).')
    if not _fits(button.get("label"), MAX_LABEL):
        errors.add((*path, "label"), "BASE_TYPE_BAD_LENGTH", f"Must be between 1 and {MAX_LABEL} in length.")
    if style == LINK:
        if not _fits(url, MAX_LINK) or not str(url).startswith(("http://", "https://", "discord://")):
            errors.add((*path, "url"), "URL_TYPE_INVALID_URL", "Not a well formed URL.")
        if custom_id is not None:
            message = "A custom id and url cannot both be specified"
            errors.add((*path, "custom_id"), "BUTTON_COMPONENT_CUSTOM_ID_URL_MUTUALLY_EXCLUSIVE", message)
    elif not _fits(custom_id, MAX_ID):
        errors.add((*path, "custom_id"), "BASE_TYPE_BAD_LENGTH", f"Must be between 1 and {MAX_ID} in length.")
    elif str(custom_id) in seen:
        message = "Component custom id cannot be duplicated"
        errors.add((*path, "custom_id"), "COMPONENT_CUSTOM_ID_DUPLICATED", message)
    else:
        seen.add(str(custom_id))
