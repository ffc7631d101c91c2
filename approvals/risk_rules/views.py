"""Pages of the published risk rules, with their points and how often each found
something; and of the organization's own words, with a preview of what a word would have
found. Admins change points and words here.
"""

from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib import messages
from django.db.models import Count, Func
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from approvals.models import OwnWord, Review, RuleWeight
from approvals.queue.filters import Filters
from approvals.queue.querysets import queue_messages
from approvals.risk_rules.weighing import (
    RULE,
    WantedWord,
    WordRefused,
    lately,
    loosens,
    rehearse_word,
    remove_word,
    save_word,
    weigh,
)
from common.actors import Actor, Role
from common.errors import SentenceError
from common.pages import (
    DeskRequest,
    MultilineField,
    SentenceForm,
    answer,
    changes,
    choices_by_pk,
    cleaned,
    first_or_404,
    redirect_with_notice,
    require_get_or_post,
    same_error,
)
from mirror.errors import ActNotAllowed
from mirror.models import Mailbox, may_set
from people.sign_in.reauthentication import (
    ask_first,
    is_recently_authenticated,
    reauthenticated,
)
from risk.findings import level_of
from risk.own_words import MAX_TYPED, PLACES, SearchedText, places_in_words, read_phrase
from risk.rules import RULES, Rule

_RULE_POINTS = "Give it 0 to 100 points, in whole numbers."


class RuleForm(SentenceForm):
    """The new points of a risk rule, or that it gets its published points again."""

    points = forms.IntegerField(
        min_value=0,
        max_value=100,
        required=False,
        error_messages=same_error(_RULE_POINTS),
    )
    as_published = forms.BooleanField(required=False)

    def clean(self) -> None:
        cleaned = self.cleaned_data
        if cleaned.get("as_published"):
            self.errors.pop("points", None)
        elif cleaned.get("points") is None and "points" not in self.errors:
            self.add_error("points", _RULE_POINTS)

    def wanted(self) -> int | None:
        """Return the points; None for the published ones."""
        return (
            None if self.cleaned_data["as_published"] else self.cleaned_data["points"]
        )


# The most messages in which findings are counted, so that the list stays fast.
MOST = 100_000


@dataclass(frozen=True)
class WeighedRule:
    """A published rule with its points at this desk, and in how many messages it found
    something (`hits`).
    """

    rule: Rule
    weight: RuleWeight | None
    hits: int = 0

    @property
    def points(self) -> int:
        """The points of one finding: an admin's, or else the published ones."""
        if self.weight is None or self.weight.points is None:
            return self.rule.points
        return self.weight.points

    @property
    def is_as_published(self) -> bool:
        """Whether the points are the published ones."""
        return self.points == self.rule.points

    @property
    def level(self) -> str:
        """The risk level of a message with one finding of this rule only."""
        return level_of(self.points)


@require_safe
def findings(request: DeskRequest) -> HttpResponse:
    """List the rules by points, with the number of messages in which each found
    something in the last 30 days.
    """
    weights = RuleWeight.objects.select_related("changed_by").in_bulk(field_name="rule")
    # One query counts the messages of every rule (relies on message_changed).
    newest = lately(queue_messages().visible_to(request.actor)).in_order("newest")
    by_rule = Review.objects.filter(pk__in=newest.values("pk")[:MOST]).values(
        rule=Func("rules", function="unnest")
    )
    hits = dict(by_rule.annotate(number=Count("*")).values_list("rule", "number"))
    rules = [
        WeighedRule(rule, weights.get(rule.name), hits.get(rule.name, 0))
        for rule in RULES.values()
    ]
    rules.sort(key=lambda weighed: -weighed.points)
    return render(
        request,
        "approvals/risk_rules/rules.html",
        {"rules": rules, "may_weigh": request.actor.is_admin_of_all},
    )


def _published(name: str) -> Rule:
    published = RULES.get(name)
    if published is None:
        raise Http404("No rule of this name is published.")
    return published


def _rule_page(
    request: DeskRequest, rule: str, *, error: SentenceError | None = None
) -> HttpResponse:
    """Show one rule, with links to the messages that have findings of it."""
    actor = request.actor
    published = _published(rule)
    weight = (
        RuleWeight.objects.filter(rule=published.name)
        .select_related("changed_by")
        .first()
    )
    weighed = WeighedRule(published, weight)
    context: dict[str, Any] = {
        "one": weighed,
        "query": Filters(rule=published.name).query(),
        "may_weigh": actor.is_admin_of_all,
        "typed": request.POST.get("points", weighed.points),
    }
    return answer(request, "approvals/risk_rules/rule.html", context, error)


rule = require_safe(_rule_page)


@require_POST
@changes(_rule_page, to="rule", is_same=True)
def weigh_rule(request: DeskRequest, rule: str) -> str:
    """Set a rule's points, or reset them to the published ones."""
    published = _published(rule)
    form = RuleForm(request.POST)
    cleaned(form)
    weight = weigh(rule=rule, points=form.wanted(), actor=request.actor)
    counts = published.points if weight.points is None else weight.points
    return f"“{published.words.capitalize()}” now counts {counts}. Held messages are scored again in the background."


# Characters of a text on which a word is tested.
MAX_SAMPLE = 20_000
_ALL = "all"


class WordForm(SentenceForm):
    """A word as it is typed, where it is looked for, and a text to test it on."""

    text = forms.CharField(
        max_length=MAX_TYPED,
        error_messages={
            "required": "Write a word, a phrase or a pattern.",
            "max_length": f"Keep it under {MAX_TYPED} characters.",
        },
    )
    looks_in = forms.MultipleChoiceField(
        choices=list(PLACES.items()),
        error_messages={"required": "Choose at least one place to look in."},
    )
    points = forms.IntegerField(
        min_value=1,
        max_value=100,
        error_messages=same_error("Give it 1 to 100 points, in whole numbers."),
    )
    mailbox = forms.ChoiceField(
        error_messages=same_error("Choose one of the mailboxes in the list.")
    )
    sample = MultilineField(
        required=False,
        max_length=MAX_SAMPLE,
        error_messages={
            "max_length": f"Keep the text to test under {MAX_SAMPLE:,} characters."
        },
    )
    # What the page before showed the effect of, as WantedWord writes it.
    previewed = forms.CharField(required=False, max_length=1000)

    def __init__(
        self, request: DeskRequest, word: OwnWord | None, *, data: Any = None
    ) -> None:
        scopes = _scopes(request.actor, word)
        requested = request.GET.get("mailbox", "")
        initial: dict[str, Any] = {
            "points": 20,
            "mailbox": requested if requested in scopes else next(iter(scopes), ""),
            "looks_in": ["subject", "text"],
        }
        if word:
            initial = {
                "text": word.text,
                "points": word.points,
                "mailbox": str(word.mailbox_id or _ALL),
                "looks_in": word.looks_in,
            }
        super().__init__(data, initial=initial)
        self.fields["mailbox"].choices = list(scopes.items())  # type: ignore[attr-defined]

    def clean_text(self) -> str:
        try:
            self.phrase = read_phrase(self.cleaned_data["text"])
        except ValueError as error:
            raise forms.ValidationError(str(error)) from None
        return self.phrase.text

    def wanted(self) -> WantedWord:
        """Return the word that was typed. The form must be valid."""
        cleaned = self.cleaned_data
        mailbox = None
        if cleaned["mailbox"] != _ALL:
            mailbox = Mailbox.objects.select_related("connection").get(
                pk=cleaned["mailbox"]
            )
        return WantedWord(self.phrase, mailbox, cleaned["looks_in"], cleaned["points"])


def _scopes(actor: Actor, word: OwnWord | None) -> dict[str, str]:
    """Return the choices for the word's mailbox: the mailboxes whose words the actor
    may set, and "all" for admins of everything.
    """
    administered = (
        Mailbox.objects.at_work().active().visible_to(actor.acting_as(Role.ADMIN))
    )
    scopes = {_ALL: "All mailboxes"} if actor.is_admin_of_all else {}
    scopes |= choices_by_pk(administered)
    if word and word.mailbox:
        scopes[str(word.mailbox.pk)] = str(word.mailbox)
    return scopes


@require_safe
def own_words(request: DeskRequest) -> HttpResponse:
    """List the own words of the mailboxes that the actor may see, those with the most
    points first.
    """
    actor = request.actor
    words = (
        OwnWord.objects.visible_to(actor)
        .select_related("mailbox", "changed_by")
        .order_by("-points", "text", "pk")
    )
    context = {
        "words": [
            (word, places_in_words(word.looks_in), level_of(word.points))
            for word in words
        ],
        "may_add": bool(_scopes(actor, None)),
        "is_judging": RuleWeight.objects.filter(rule=RULE)
        .exclude(weighed_to=None)
        .exists(),
    }
    return render(request, "approvals/risk_rules/own_words.html", context)


@require_get_or_post
def add_word(request: DeskRequest) -> HttpResponse:
    """Show the form for a new word. On POST, preview the word, or save it."""
    if not _scopes(request.actor, None):
        return _page(request, None, ActNotAllowed("Only an admin can set words."))
    return _save_or_preview(request, None)


@require_safe
def own_word(request: DeskRequest, word_id: int) -> HttpResponse:
    """Show one word, with its form for those who may change it."""
    return _page(request, _get_visible_word_or_404(request, word_id))


@require_POST
def save_own_word(request: DeskRequest, word_id: int) -> HttpResponse:
    """Preview a change of a word, or save it. A change that loosens requires recent
    authentication.
    """
    word = _get_visible_word_or_404(request, word_id)
    if not may_set(request.actor, word.mailbox):
        error = ActNotAllowed("Only an admin of its mailbox can change this word.")
        return _page(request, word, error)
    return _save_or_preview(request, word)


@require_POST
@reauthenticated
def remove_own_word(request: DeskRequest, word_id: int) -> HttpResponse:
    """Remove a word."""
    word = _get_visible_word_or_404(request, word_id)
    try:
        remove_word(word=word, actor=request.actor)
    except ActNotAllowed as error:
        return _page(request, word, error)
    except WordRefused as error:
        messages.error(request, error.sentence, extra_tags="desk")
        return redirect("own-words")
    notice = f"“{word.text}” is removed. Its findings are removed from held messages in the background."
    return redirect_with_notice(request, notice, "own-words")


def _get_visible_word_or_404(request: DeskRequest, word_id: int) -> OwnWord:
    visible = OwnWord.objects.visible_to(request.actor).select_related(
        "mailbox", "changed_by"
    )
    return first_or_404(
        visible.filter(pk=word_id),
        "There is no such word, or it belongs to a mailbox that you do not see.",
    )


def _save_or_preview(request: DeskRequest, word: OwnWord | None) -> HttpResponse:
    form = WordForm(
        request, word, data=request.POST if request.method == "POST" else None
    )
    if not form.is_valid():
        return _page(request, word, form=form)
    wanted = form.wanted()
    # Only a word that was previewed is saved.
    is_previewed = form.cleaned_data["previewed"] == str(wanted)
    if request.POST.get("act") != "save" or not is_previewed:
        sample = form.cleaned_data["sample"]
        preview = {
            "word": wanted,
            "level": level_of(wanted.points),
            "has_sample": bool(sample),
            "is_in_sample": bool(SearchedText(sample).find(wanted.phrase)),
            "rehearsal": rehearse_word(wanted=wanted, actor=request.actor),
        }
        return _page(request, word, form=form, preview=preview)
    if word and loosens(word, wanted) and not is_recently_authenticated(request):
        return ask_first(request)
    try:
        saved = save_word(wanted=wanted, actor=request.actor, word=word)
    except WordRefused as error:
        form.add_error("text", error.sentence)
        return _page(request, word, form=form)
    except ActNotAllowed as error:
        return _page(request, word, error, form=form)
    notice = (
        f"“{saved.text}” is saved. Held messages are checked again in the background."
    )
    return redirect_with_notice(request, notice, "own-words")


def _page(
    request: DeskRequest,
    word: OwnWord | None,
    error: SentenceError | None = None,
    *,
    form: WordForm | None = None,
    preview: dict[str, Any] | None = None,
) -> HttpResponse:
    actor = request.actor
    context = {
        "word": word,
        "form": form or WordForm(request, word),
        "may_change": may_set(actor, word.mailbox)
        if word
        else bool(_scopes(actor, None)),
        "preview": preview,
    }
    template = "approvals/risk_rules/own_word.html"
    return answer(request, template, context, error, form=form)
