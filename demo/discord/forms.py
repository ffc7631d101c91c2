"""The forms that the page opens: what an application asks for, and what a command
takes. Everything is escaped.
"""

from html import escape
from typing import Any

from demo.discord.application import MAX_VALUE
from demo.discord.limits import MAX_INPUT

# From here on a text gets more than one line.
_LONG = 1000


def form_dialog(form: dict[str, Any], message_id: str) -> str:
    """Return the dialog of a modal that an application answered a press with."""
    fields = ""
    for number, part in enumerate(form["components"]):
        field = part["component"]
        fields += _field(
            f"asked-{number}",
            field["custom_id"],
            part["label"],
            part.get("description", ""),
            least=field.get("min_length", 0),
            most=field.get("max_length", MAX_INPUT),
            required=field.get("required", True),
            is_long=field["style"] == 2,
        )
    attributes = (
        f'data-form="{escape(form["custom_id"])}" data-message="{escape(message_id)}"'
    )
    note = "This form is sent to Countersign. Do not share passwords or other secrets."
    return _dialog("form-asked", str(form["title"]), fields, attributes, note, "Submit")


def command_dialogs(commands: list[dict[str, Any]]) -> str:
    """Return a dialog for each registered command."""
    dialogs = ""
    for command in commands:
        name = command["name"]
        fields = ""
        for option in command.get("options") or []:
            most = option.get("max_length", MAX_VALUE)
            required = bool(option.get("required"))
            fields += _field(
                f"{name}-{option['name']}",
                option["name"],
                f"{option['name']}{'' if required else ' (optional)'}",
                option["description"],
                least=0,
                most=most,
                required=required,
                is_long=most > _LONG,
            )
        fields = fields or "<p>This command takes nothing more.</p>"
        attributes = f'data-command="{escape(name)}"'
        about = str(command["description"])
        dialogs += _dialog(
            f"command-{name}", f"/{name}", fields, attributes, about, "Send"
        )
    return dialogs


def command_buttons(commands: list[dict[str, Any]]) -> str:
    """Return what opens them."""
    return "".join(
        f'<button type="button" data-open="command-{escape(one["name"])}">/{escape(one["name"])}</button>'
        for one in commands
    )


def _field(
    identity: str,
    name: str,
    label: str,
    description: str,
    *,
    least: int,
    most: int,
    required: bool,
    is_long: bool,
) -> str:
    identity = escape(identity)
    attributes = f'id="{identity}" name="{escape(name)}" maxlength="{most}"'
    if least:
        attributes += f' minlength="{least}"'
    if required:
        attributes += " required"
    described = ""
    if description:
        described = f'<small id="{identity}-about">{escape(description)}</small>'
        attributes += f' aria-describedby="{identity}-about"'
    control = (
        f'<textarea rows="4" {attributes}></textarea>'
        if is_long
        else f'<input autocomplete="off" {attributes}>'
    )
    return f'<label for="{identity}">{escape(label)}</label>{described}{control}'


def _dialog(
    identity: str, title: str, fields: str, attributes: str, note: str, button: str
) -> str:
    return (
        f'<dialog id="{escape(identity)}" aria-labelledby="{escape(identity)}-title"><form {attributes}>'
        f'<h2 id="{escape(identity)}-title">{escape(title)}</h2><p class="about">{escape(note)}</p>{fields}'
        '<p class="wrong" role="alert" hidden></p>'
        f'<p class="ends"><button type="button" class="plain" data-close>Cancel</button>'
        f'<button type="submit" class="primary">{escape(button)}</button></p></form></dialog>'
    )
