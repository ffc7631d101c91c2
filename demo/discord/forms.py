"""The forms that the page opens: what an application asks for, and what a command takes. Everything is escaped."""

from html import escape
from typing import Any

from demo.discord.commands import MAX_VALUE
from demo.discord.components import MAX_INPUT

# From here on a text gets more than one line.
_LONG = 1000


def form_dialog(form: dict[str, Any], message_id: str) -> str:
    """Return the dialog of a modal that an application answered a press with."""
    fields = "".join(_asked(part, number) for number, part in enumerate(form["components"]))
    attributes = f'data-form="{escape(form["custom_id"])}" data-message="{escape(message_id)}"'
    note = "This form is sent to Countersign. Do not share passwords or other secrets."
    return _dialog("form-asked", str(form["title"]), fields, attributes, note, "Submit")


def command_dialogs(commands: list[dict[str, Any]]) -> str:
    """Return a dialog for each registered command."""
    return "".join(_command(command) for command in commands)


def command_buttons(commands: list[dict[str, Any]]) -> str:
    """Return what opens them."""
    return "".join(
        f'<button type="button" data-open="command-{escape(one["name"])}">/{escape(one["name"])}</button>'
        for one in commands
    )


def _command(command: dict[str, Any]) -> str:
    name, options = command["name"], command.get("options") or []
    fields = "".join(_option(name, option) for option in options) or "<p>This command takes nothing more.</p>"
    note = str(command["description"])
    return _dialog(f"command-{name}", f"/{name}", fields, f'data-command="{escape(name)}"', note, "Send")


def _asked(part: dict[str, Any], number: int) -> str:
    field = part["component"]
    rules = _rules(field.get("min_length", 0), field.get("max_length", MAX_INPUT), required=field.get("required", True))
    is_long = field["style"] == 2
    return _field(
        f"asked-{number}", field["custom_id"], part["label"], part.get("description", ""), rules, is_long=is_long
    )


def _option(command: str, option: dict[str, Any]) -> str:
    most, required = option.get("max_length", MAX_VALUE), bool(option.get("required"))
    label = option["name"] if required else f"{option['name']} (optional)"
    identity = f"{command}-{option['name']}"
    is_long = most > _LONG
    return _field(
        identity, option["name"], label, option["description"], _rules(0, most, required=required), is_long=is_long
    )


def _field(identity: str, name: str, label: str, description: str, rules: str, *, is_long: bool) -> str:
    attributes = f'id="{escape(identity)}" name="{escape(name)}" {rules}'
    described = f'<small id="{escape(identity)}-about">{escape(description)}</small>' if description else ""
    attributes += f' aria-describedby="{escape(identity)}-about"' if description else ""
    control = f'<textarea rows="4" {attributes}></textarea>' if is_long else f'<input autocomplete="off" {attributes}>'
    return f'<label for="{escape(identity)}">{escape(label)}</label>{described}{control}'


def _rules(least: int, most: int, *, required: bool) -> str:
    return f'maxlength="{most}"' + (f' minlength="{least}"' if least else "") + (" required" if required else "")


def _dialog(identity: str, title: str, fields: str, attributes: str, note: str, button: str) -> str:
    return (
        f'<dialog id="{escape(identity)}" aria-labelledby="{escape(identity)}-title"><form {attributes}>'
        f'<h2 id="{escape(identity)}-title">{escape(title)}</h2><p class="about">{escape(note)}</p>{fields}'
        '<p class="wrong" role="alert" hidden></p>'
        f'<p class="ends"><button type="button" class="plain" data-close>Cancel</button>'
        f'<button type="submit" class="primary">{escape(button)}</button></p></form></dialog>'
    )
