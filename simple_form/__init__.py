"""Turns the HTML of a message into its simple form, in which what is shown is what is
sent. Pure; knows no product.
"""

from simple_form.result import Change, SimpleForm, TooComplex
from simple_form.simplify import simplify, text_of

__all__ = ["Change", "SimpleForm", "TooComplex", "simplify", "text_of"]
