"""Turns the HTML of a message into its simple form: HTML with few elements and styles,
in which no word can be hidden, covered, cut off, moved or added.

`simplify` returns it with a list of what was left out or changed. The package uses
nothing else of Countersign, no database and no network.
"""

from simple_form.result import Change, SimpleForm, TooComplex
from simple_form.simplify import simplify
