"""What an annotator's verdicts on gaps and fragments say about what they take for a vessel, and for one vessel.

A verdict on a cut says nothing of it: both sides are vessels either way.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from napari_vessel.review.edits import Verdict, VerdictRecord
from napari_vessel.review.fragments import FragmentRecord, FragmentVerdict
from napari_vessel.untrusted import MALFORMED, finite

if TYPE_CHECKING:
    from napari_vessel.completion import Gap
    from napari_vessel.completion.belief import Opinion
    from napari_vessel.review.schema import Database

REMEMBERED = 1000
"""So many verdicts that say something, the newest, are looked at: taste changes, and a belief is no better for more."""


def opinions_of(verdicts: Iterable[tuple[Gap, VerdictRecord]], annotator: str | None = None) -> list[Opinion]:
    """Return what verdicts say about the pieces that the gaps would have joined, and about joining them.

    Who accepts or repaints a gap takes both its sides for vessels, and for one. Who rejects one may have meant the
    bridge or the piece: the refusal counts for each by the chance that it was meant, as both scores had it.

    Parameters
    ----------
    verdicts : iterable of (Gap, VerdictRecord)
        Of any number of images. Those accepted in bulk (never on the screen: 0 seconds), unsure and skipped ones are
        left out, and so are gaps of which nothing is known.
    annotator : str, optional
        Whose; everybody's when left out.
    """
    return [
        one
        for gap, record in verdicts
        if annotator in (None, record.annotator)
        for one in _opinions(record.verdict, record.seconds, gap.facts, gap.linked, gap.link, gap.fragment)
    ]


def opinions_of_fragments(records: Iterable[FragmentRecord], annotator: str | None = None) -> list[Opinion]:
    """Return what verdicts on fragments say: what was kept is a vessel, what was deleted is none.

    Parameters
    ----------
    records : iterable of FragmentRecord
        Those deleted in bulk (0 seconds), unsure and skipped ones are left out, and those of which nothing is known.
    annotator : str, optional
        Whose; everybody's when left out.
    """
    from napari_vessel.completion.belief import Opinion

    kept = {FragmentVerdict.KEPT: True, FragmentVerdict.DELETED: False}
    return [
        Opinion(record.facts, kept[record.verdict])
        for record in records
        if annotator in (None, record.annotator) and record.verdict in kept and record.facts and record.seconds > 0.0
    ]


def read_opinions(database: Database, annotator: str, besides: str = "") -> list[Opinion]:
    """Read what an annotator's newest verdicts in a project say, at most :data:`REMEMBERED` on gaps and on fragments.

    Parameters
    ----------
    database : Database
        The project's.
    annotator : str
        Whose.
    besides : str
        Id of an image whose verdicts are left out.
    """
    # The newest are found by their short columns; only theirs are the long ones read.
    gaps = database.rows(
        "SELECT verdict, seconds, proposal FROM verdicts WHERE rowid IN (SELECT rowid FROM verdicts "
        "WHERE annotator = ? AND image <> ? AND verdict IN ('accepted', 'repainted', 'rejected') "
        "AND (verdict <> 'accepted' OR seconds > 0) ORDER BY made DESC, rowid LIMIT ?) ORDER BY made, image, gap",
        (annotator, besides, REMEMBERED),
    )
    found = [one for row in gaps for one in _read_gap(*row)]
    # Without facts, as all that were deleted in bulk, a record teaches nothing: it need not be understood.
    rows = database.rows(
        "SELECT record FROM fragments WHERE image <> ? AND record LIKE '%\"facts\"%' ORDER BY image, fragment",
        (besides,),
    )
    read = [record for record in (_read_fragment(text) for (text,) in rows) if record is not None]
    said = opinions_of_fragments(sorted(read, key=lambda record: record.when), annotator)
    return found + said[-REMEMBERED:]


def _read_gap(verdict: str, seconds: float, text: str) -> list[Opinion]:
    # What is damaged teaches nothing; whose image it is hears of it when it is opened.
    try:
        gap = json.loads(text)
        facts = {name: finite(value) for name, value in gap.get("facts", {}).items()}
        linked, link, fragment = (
            None if gap.get(name) is None else finite(gap[name]) for name in ("linked", "link", "fragment")
        )
        return _opinions(Verdict(verdict), finite(seconds), facts, linked, link, fragment)
    except MALFORMED:
        return []


def _read_fragment(text: str) -> FragmentRecord | None:
    try:
        return FragmentRecord.from_json(json.loads(text))
    except MALFORMED:
        return None


def _opinions(
    verdict: Verdict,
    seconds: float,
    facts: Mapping[str, Any],
    linked: float | None,
    link: float | None,
    fragment: float | None,
) -> list[Opinion]:
    """Return what a verdict says of the link, and of the less certain side where anything is known of it."""
    from napari_vessel.completion.belief import LINKED, Opinion

    right = verdict is not Verdict.REJECTED
    taught = verdict in (Verdict.REJECTED, Verdict.REPAINTED) or (verdict is Verdict.ACCEPTED and seconds > 0.0)
    if not taught or link is None:
        return []
    vessel = 1.0 if fragment is None else fragment
    either = max(1.0 - link * vessel, 1e-6)
    found = []
    if fragment is not None and facts:
        found.append(Opinion(facts, right, 1.0 if right else (1.0 - vessel) / either))
    if linked is not None:
        found.append(Opinion({LINKED: linked}, right, 1.0 if right else (1.0 - link) / either))
    return found
