"""Parsing of what people send about the ledger's seals."""

from django import forms

from audit.verification.comparison import Kept, NoHead, read_kept

# A head is about a thousand characters; of a file, its last lines.
_LONGEST = 20_000


class SealsForm(forms.Form):
    """Before which seal a page of the list begins."""

    before = forms.IntegerField(required=False, min_value=1, max_value=2**62)

    def place(self) -> int | None:
        """Return the number, None for the newest page or what is no number."""
        return self.cleaned_data["before"] if self.is_valid() else None


class KeptHeadForm(forms.Form):
    """A head that somebody kept, and whether the proof is wanted as a file."""

    head = forms.CharField(
        max_length=_LONGEST,
        error_messages={
            "required": "Put in the head that you kept.",
            "max_length": "This is longer than any head. Of a file of seals, put in one line.",
        },
    )
    wanted = forms.ChoiceField(choices=[("file", "The proof as a file")], required=False)

    def clean_head(self) -> Kept:
        """Return the head, or say why it is none."""
        try:
            return read_kept(self.cleaned_data["head"])
        except NoHead as why:
            raise forms.ValidationError(str(why)) from None

    @property
    def problem(self) -> str:
        """The first thing that is wrong, as a sentence."""
        return next((str(errors[0]) for errors in self.errors.values()), "")
