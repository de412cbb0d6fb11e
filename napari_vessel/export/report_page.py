"""The report's page: what a clinician asks first, then what a data set's reviewer wants to check."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from napari_vessel.export.html import Content, Markup, element, embedded, figure, page, paragraph, table
from napari_vessel.export.overlays import ADDED, KEPT, REMOVED
from napari_vessel.export.report_data import CUT, FRAGMENT, GAP, ImageReport, ProjectReport
from napari_vessel.export.report_measures import means, of_image
from napari_vessel.review.agreement import Estimate
from napari_vessel.review.edits import EditKind
from napari_vessel.topology.metrics import Score, mean_interval
from napari_vessel.version import __version__

GENERATOR = "napari-vessel report"

_MINUS = "\N{MINUS SIGN}"
_STATES = {"new": "new", "segmented": "segmented", "in_review": "in review", "done": "done"}
_KINDS = {
    "fundus": "fundus photograph",
    "octa": "OCTA",
    "xray": "X-ray angiogram",
    "twophoton": "two-photon image",
    "other": "image of another kind",
}
_EDITS = {
    EditKind.STROKE.value: "strokes of the brush",
    EditKind.DELETE.value: "components deleted",
    EditKind.BULK.value: "bulk accepts",
    EditKind.SEGMENT.value: "masks drawn by a model or replaced as a whole",
}
_WORDS = {
    (GAP, "accepted"): "accepted: joined as proposed",
    (GAP, "repainted"): "repainted: joined by hand",
    (GAP, "rejected"): "rejected: no vessel there",
    (CUT, "accepted"): "accepted: parted as proposed",
    (CUT, "repainted"): "repainted: parted by hand",
    (CUT, "rejected"): "rejected: the vessel is real",
    (FRAGMENT, "kept"): "kept: a vessel",
    (FRAGMENT, "deleted"): "deleted: no vessel",
}
_SCORES: tuple[tuple[str, Callable[[Score], float], bool], ...] = (
    ("Dice", lambda s: s.dice, True),
    ("clDice (centrelines)", lambda s: s.cl_dice, True),
    ("Sensitivity", lambda s: s.sensitivity, True),
    ("Specificity", lambda s: s.specificity, True),
    ("Components too many or too few (b0 error)", lambda s: s.b0_error, False),
    ("Loops too many or too few (b1 error)", lambda s: s.b1_error, False),
)
"""Title, figure, and whether it is a share (of three decimals) or a number."""


def report_page(report: ProjectReport) -> str:
    """Return the page of a report."""
    images = report.images
    body = [
        *_head(report),
        *_overview(images),
        *_decisions(images),
        *means([image.measured for image in images]),
        *_against_truth(images),
        *_agreement(report),
        *_origin(report),
        element("h2", "Image by image", class_="sheet"),
        _legend(),
        *(part for n, image in enumerate(images) for part in _image(image, n)),
        *_method(report),
    ]
    return page(f"Vessel review: {report.name}", body, GENERATOR)


def _head(report: ProjectReport) -> list[Markup]:
    images = report.images
    done = sum(image.record.state.value == "done" for image in images)
    before, after = (sum(image.components[k] for image in images) for k in (0, 1))
    decided = sum(sum(image.verdicts.values()) for image in images)
    people = sorted({name for image in images for name in image.annotators})
    facts: list[tuple[str, str]] = [
        (f"{done} of {len(images)}", "images with a finished review"),
        (f"{before} \N{RIGHTWARDS ARROW} {after}", "separate pieces of vessel, before and after"),
        (str(decided), "proposals decided by a person"),
        (f"+{_percent(images, 'added')} / {_MINUS}{_percent(images, 'removed')}", "of the vessel area added / removed"),
    ]
    found = [
        element("h1", f"Vessel review: {report.name}"),
        paragraph(
            f"Written {datetime.now().astimezone():%Y-%m-%d %H:%M} by napari-vessel {__version__}, ",
            f"project {report.id}. ",
            f"Reviewed by {', '.join(people)}." if people else "Nobody is named as reviewer.",
            soft=True,
        ),
        element("ul", *(element("li", element("b", value), words) for value, words in facts), class_="facts"),
    ]
    open_gaps = sum(image.record.open_gaps for image in images)
    unfinished = len(images) - done
    notes = []
    if unfinished:
        notes.append(f"{_count(unfinished, 'image')} not finished and may still change.")
    if open_gaps:
        notes.append(f"{_count(open_gaps, 'proposed gap')} without a decision.")
    if unknown := sum(not image.record.gaps_known for image in images):
        notes.append(f"Gaps were never looked for in {unknown} image{'' if unknown == 1 else 's'}.")
    if flagged := [image.record.name for image in images if "ungradable" in image.record.flags]:
        notes.append(f"Flagged as ungradable: {', '.join(flagged)}.")
    if second := [image.record.name for image in images if "second_reader" in image.record.flags]:
        notes.append(f"A second reader was asked for: {', '.join(second)}.")
    if report.left_out:
        told = ", ".join(f"{name} ({why})" for name, why in report.left_out)
        notes.append(f"Not in this report: {told}.")
    found += [element("p", " ".join(notes), class_="note")] if notes else []
    return found


def _percent(images: Sequence[ImageReport], what: str) -> str:
    total = sum(image.vessel_px[0] for image in images)
    changed = sum(getattr(image.pictures, what) for image in images)
    return f"{100 * changed / total:.1f} %" if total else f"{changed} px"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun} is" if number == 1 else f"{number} {noun}s are"


def _overview(images: Sequence[ImageReport]) -> list[Markup]:
    scored = any(image.scores for image in images)
    header = ["Image", "State", "Pieces before", "after", "Added, px", "Removed, px", "Decided", "Open"]
    header += ["Dice before", "after"] if scored else []
    rows = []
    for number, image in enumerate(images):
        link = element("a", image.record.name, href=f"#image-{number + 1}")
        row: list[Content] = [link, _STATES[image.record.state.value], *image.components]
        row += [image.pictures.added, image.pictures.removed, sum(image.verdicts.values())]
        row += [image.record.open_gaps if image.record.gaps_known else "–"]
        if scored:
            row += [_share(score.dice) for score in image.scores] if image.scores else ["", ""]
        rows.append(row)
    return [element("h2", "At a glance"), table(header, rows)]


def _decisions(images: Sequence[ImageReport]) -> list[Markup]:
    total: Counter[tuple[str, str, str]] = Counter()
    edits: Counter[str] = Counter()
    for image in images:
        total.update(image.verdicts)
        edits.update(image.edits)
    found = [element("h2", "What was decided, and by whom")]
    people = sorted({who for _, _, who in total})
    if not total:
        found.append(paragraph("No proposal was decided."))
    else:
        rows = _verdict_rows(total, people)
        names = [who or "not named" for who in people]
        found.append(table(["", "Decision", *names, "all"], rows, "second short"))
    named = [f"{edits[kind]} {words}" for kind, words in _EDITS.items() if edits[kind]]
    if named:
        found.append(paragraph(f"Also in the history: {', '.join(named)}.", soft=True))
    return found


def _verdict_rows(counts: Counter[tuple[str, str, str]], people: Sequence[str]) -> list[list[Content]]:
    rows: list[list[Content]] = []
    for what in (GAP, CUT, FRAGMENT):
        verdicts = list(dict.fromkeys(v for w, v, _ in sorted(counts) if w == what))
        for verdict in verdicts:
            each = [counts[what, verdict, who] for who in people]
            words = _WORDS.get((what, verdict), "unsure: cannot be told" if verdict == "unsure" else verdict)
            rows.append([what.capitalize() if verdict == verdicts[0] else "", words, *each, sum(each)])
    return rows


def _against_truth(images: Sequence[ImageReport]) -> list[Markup]:
    scored = [image.scores for image in images if image.scores is not None]
    if not scored:
        return []
    rows: list[list[Content]] = []
    for title, figure_of, is_share in _SCORES:
        before, after = ([figure_of(pair[k]) for pair in scored] for k in (0, 1))
        change = [new - old for old, new in zip(before, after, strict=True)]
        write = _share if is_share else _number
        rows.append([title, _mean(before, write), _mean(after, write), _mean(change, write, sign=True)])
    many = f"{len(scored)} of {len(images)} images" if len(scored) < len(images) else _images(len(images))
    return [
        element("h2", "Against the reference masks"),
        table(["", "before", "after", "change"], rows, "short"),
        paragraph(
            f"Means over {many}, inside the field of view; in brackets 95 % intervals, by drawing images with "
            "replacement. Dice: overlap of areas, 1 is perfect. clDice: the same of centrelines, which tells whether "
            "vessels are connected. The last two rows count pieces and loops too many or too few; 0 is perfect.",
            soft=True,
        ),
    ]


def _images(number: int) -> str:
    return "1 image" if number == 1 else f"{number} images"


def _mean(values: Sequence[float], write: Callable[[float], str], sign: bool = False) -> str:
    mean, interval = mean_interval(values)
    told = (_signed(mean, write), *(_signed(v, write) for v in interval or ())) if sign else ()
    told = told or (write(mean), *(write(v) for v in interval or ()))
    return told[0] if interval is None else f"{told[0]} ({told[1]} to {told[2]})"


def _signed(value: float, write: Callable[[float], str]) -> str:
    return f"{'+' if value >= 0 else _MINUS}{write(abs(value))}"


def _share(value: float) -> str:
    return f"{value:.3f}"


def _number(value: float) -> str:
    return f"{value:.1f}"


def _agreement(report: ProjectReport) -> list[Markup]:
    found = report.agreement
    if found is None:
        return []
    figures = found.figures
    rows: list[list[Content]] = []
    for title, share, chance in (
        ("Gaps", "agreement", "kappa"),
        ("Cuts", "cut_agreement", "cut_kappa"),
        ("Fragments", "fragment_agreement", "fragment_kappa"),
    ):
        if figures[share].value is not None:
            rows.append([title, _estimate(figures[share]), _estimate(figures[chance])])
    readers = zip(found.names, found.annotators, strict=True)
    who = [f"{name} ({', '.join(people) or 'nobody named'})" for name, people in readers]
    contradictions = sum(pair.contradicts for image in found.images for pair in (*image.pairs, *image.fragments))
    said = "1 contradiction" if contradictions == 1 else f"{contradictions} contradictions"
    parts = [
        element("h2", "Agreement with a second reader"),
        paragraph(f"{who[0]} and {who[1]}: {_images(len(found.images))} in both, {said}."),
        table(["", "share decided alike", "Cohen's kappa"], rows, "short") if rows else paragraph("Nothing by both."),
        paragraph(
            f"The two masks: Dice {_estimate(figures['dice'])}, clDice {_estimate(figures['cldice'])}. In brackets "
            "95 % intervals, by drawing images. Kappa is 1 for complete agreement and 0 for what chance would give.",
            soft=True,
        ),
    ]
    return parts


def _estimate(estimate: Estimate) -> str:
    if estimate.value is None:
        return "not defined"
    value, *ends = (
        f"{v:.3f}".replace("-", _MINUS) for v in (estimate.value, estimate.low, estimate.high) if v is not None
    )
    return f"{value} ({ends[0]} to {ends[1]})" if len(ends) == 2 else value


def _origin(report: ProjectReport) -> list[Markup]:
    made = Counter((image.model, image.version, image.threshold, image.completion) for image in report.images)
    completed = any(image.completion for image in report.images)
    rows: list[list[Content]] = []
    for (model, version, cut, completion), count in sorted(made.items(), key=lambda one: (-one[1], one[0][0])):
        name, threshold = model or "a mask from elsewhere, or not known", "" if cut is None else f"{cut:g}"
        rows.append([name, version, threshold, *([completion] if completed else []), count])
    header = ["Model", "version", "threshold", *(["gaps found with"] if completed else []), "images"]
    return [element("h2", "Where the masks came from"), table(header, rows, "short")]


def _legend() -> Markup:
    names = ((KEPT, "vessel, as it was"), (ADDED, "added in the review"), (REMOVED, "removed in the review"))
    keys = [part for colour, words in names for part in (_key(colour), words)]
    return element("p", "Colours:", *keys, class_="soft")


def _key(colour: str) -> Markup:
    return element("span", class_="key", style=f"background:{colour}")


def _image(image: ImageReport, number: int) -> Iterable[Markup]:
    record = image.record
    about = [_KINDS[record.modality.value], f"{record.shape[1]} x {record.shape[0]} px", _STATES[record.state.value]]
    if image.spacing is not None:
        down, across = image.spacing
        about.append(f"{across:g} µm a pixel" if down == across else f"{across:g} x {down:g} µm a pixel")
    about += [flag.replace("_", " ") for flag in sorted(record.flags)]
    if image.annotators:
        about.append(f"by {', '.join(image.annotators)}")
    if record.changed:
        about.append(f"last changed {record.changed[:16].replace('T', ' ')} UTC")
    shown = image.pictures
    before, after = (_pieces(count) for count in image.components)
    changed = f"+{shown.added} px, {_MINUS}{shown.removed} px"
    pictures = element(
        "div",
        figure(embedded(shown.image), "Image"),
        figure(embedded(shown.before), f"Before the review: {before}"),
        figure(embedded(shown.after), f"After: {after}; {changed}"),
        class_="beside",
    )
    yield Markup(f'<section id="image-{number + 1}">')
    yield element(
        "div",
        element("h3", record.name),
        paragraph(", ".join(about) + ".", soft=True),
        paragraph(element("b", "Comment: "), record.comment) if record.comment else None,
        pictures,
        class_="together",
    )
    if shown.close:
        strips = [figure(embedded(jpeg), "") for jpeg in shown.close]
        title = paragraph("The largest changes close up, each as image, before and after:", soft=True)
        yield element("div", title, element("div", *strips, class_="close"), class_="together")
    if image.verdicts:
        yield paragraph(f"{_decided(image)} Open gaps: {record.open_gaps}.", soft=True)
    if image.scores is not None:
        old, new = image.scores
        told = ", ".join(
            f"{title} {write(f(old))} \N{RIGHTWARDS ARROW} {write(f(new))}"
            for title, f, is_share in _SCORES[:2] + _SCORES[4:]
            for write in (_share if is_share else _number,)
        )
        yield paragraph(f"Against {image.truth}: {told}.", soft=True)
    yield from of_image(image.measured)
    yield Markup("</section>")


def _pieces(count: int) -> str:
    return "1 piece" if count == 1 else f"{count} pieces"


def _decided(image: ImageReport) -> str:
    totals: dict[str, Counter[str]] = {}
    for (what, verdict, _), count in sorted(image.verdicts.items()):
        totals.setdefault(what, Counter())[verdict] += count
    told = (f"{what.capitalize()}: {', '.join(f'{n} {v}' for v, n in said.items())}." for what, said in totals.items())
    return " ".join(told)


def _method(report: ProjectReport) -> list[Markup]:
    rows: list[list[Content]] = [[image.record.name, image.record.content_hash] for image in report.images]
    return [
        element("h2", "How to read this"),
        paragraph(
            "Before is the mask as a model drew it, or as it came, with no decision on it; after is the mask as it is "
            "now. Pieces are 8-connected components. Overlays lie on the channel that shows vessels best, in grey; "
            "pictures are reduced, and what was changed is drawn a little thicker than it is, so count pixels in the "
            "exported masks, not here. This report shows what was reviewed; it is no diagnosis."
        ),
        element("h3", "Content of the images (SHA-256)"),
        table(["Image", "Hash"], rows, "words"),
    ]
