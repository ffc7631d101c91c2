"""Forms that are drawn from their fields, in sections that fold. `templates/_form.html`
draws a form, and `templates/_field.html` each field with its label, note and error.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import filter as matching
from typing import Any, ClassVar, Self

from django import forms
from django.forms.renderers import TemplatesSetting

from common.pages import SentenceForm
from common.tables import table_rows

# Attributes of an input for an address or a name that no keyboard may correct.
VERBATIM = {"autocapitalize": "none", "autocomplete": "off", "spellcheck": "false"}


class NotedChoice(str):
    """A choice's label, with a note that explains the choice."""

    note: str

    def __new__(cls, label: str, note: str = "") -> Self:
        choice = super().__new__(cls, label)
        choice.note = note
        return choice


class DeskRenderer(TemplatesSetting):
    """Draws fields by a template of the desk."""

    field_template_name = "_field.html"


class DrawnField(forms.BoundField):
    """A field whose widget looks like those of the desk."""

    def build_widget_attrs(self, attrs: Any, widget: Any = None) -> Any:
        ticked = ("checkbox", "checkboxselectmultiple", "radioselect")
        is_text = self.widget_type not in ticked
        look = {"class": "input"} if is_text else {}
        return super().build_widget_attrs({**look, **attrs}, widget)


@dataclass(frozen=True)
class Section:
    """Fields of a form under a heading; `part` is the heading above several sections.
    `add` labels the box that adds sections to the part, if it has one.
    """

    part: str
    title: str
    fields: list[forms.BoundField]
    note: str
    is_open: bool
    add: str


class DrawnForm(SentenceForm):
    """A form in sections. `layout` has a row for each (`common.tables`): part, title,
    the names of its fields or patterns of names, and a note. A section is open if its
    title begins with "*", or if a field in it is filled in or wrong. `adds` names the
    parts whose other sections stay away until they are added, with the label for that;
    `above` is a template for fields that stand above the sections.
    """

    default_renderer = DeskRenderer
    bound_field_class = DrawnField
    layout: ClassVar[str] = ""
    adds: ClassVar[Mapping[str, str]] = {}
    above: ClassVar[str] = ""

    def show(self, name: str, value: object) -> None:
        """Show this value of a field in place of the one that was sent."""
        data: Any = self.data.copy()  # type: ignore[attr-defined]
        data[name] = str(value)
        self.data = data

    def sections(self) -> list[Section]:
        """Return the sections with their fields, in order."""
        sections = []
        for part, title, names, note in table_rows(self.layout):
            fields = [
                self[one]
                for name in names.split()
                for one in matching(self.fields, name)
            ]
            is_open = title.startswith("*") or any(
                one.errors or one.value() for one in fields
            )
            add = self.adds.get(part, "")
            title = title.strip("* ")
            sections.append(Section(part, title, fields, note, is_open, add))
        return sections
