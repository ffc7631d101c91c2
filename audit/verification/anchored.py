"""Compares the anchors with each other and with the seals' file: whether one that was written is still there."""

from django.db.models import Exists, Max, OuterRef

from audit.models import Anchor, Seal
from audit.sealing.anchors import end_of_file, heads_in
from audit.verifier.countersign_verify import Report


def check_anchors(report: Report) -> None:
    """Find anchors and lines of the seals' file that were removed."""
    newest = Anchor.objects.aggregate(seal=Max("seal"))["seal"] or 0
    last = report.last.number if report.last else 0
    if newest > last:
        report.find(f"Seal {newest} was written outside, and the last one here is {last}: the end was deleted.")
    # Each anchor names the seal that was written to the same place before it.
    earlier = Anchor.objects.filter(kind=OuterRef("kind"), seal=OuterRef("previous"))
    for anchor in Anchor.objects.filter(~Exists(earlier), previous__gt=0).order_by("previous").iterator():
        where = "to the seals' file" if anchor.kind == Anchor.Kind.FILE else "to Discord"
        report.find(
            f"Seal {anchor.previous} was written {where} before seal {anchor.seal}, and its anchor was removed."
        )
    _check_file(report)


def _check_file(report: Report) -> None:
    """Find lines that were removed. The file is read after the anchors: a line is written before its anchor."""
    try:
        heads = heads_in(end_of_file())
    except OSError:
        return
    if not heads:
        return
    places = {(head["number"], head["signature"]): place for place, head in enumerate(heads)}
    lowest = min(number for number, _ in places)
    anchors = Anchor.objects.filter(kind=Anchor.Kind.FILE, seal__gte=lowest)
    pairs = list(anchors.values_list("previous", "seal"))
    numbers = {number for pair in pairs for number in pair}
    signatures = dict(Seal.objects.filter(number__in=numbers).values_list("number", "signature"))
    gone = set()
    # Several hosts may have a file each: a pair counts where one of the two is in this one.
    for previous, seal in pairs:
        if previous not in signatures or seal not in signatures:
            continue
        first = places.get((previous, signatures[previous]))
        second = places.get((seal, signatures[seal]))
        if first is not None and second is None:
            gone.add(seal)
        elif first is None and second:
            gone.add(previous)
    for number in sorted(gone):
        report.find(f"Seal {number} was written to the seals' file, and its line is gone.")
