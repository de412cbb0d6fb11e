"""What an annotator's verdicts on gaps say about what they take for a vessel."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from napari_vessel.review.edits import Verdict, VerdictRecord

if TYPE_CHECKING:
    from napari_vessel.completion import Gap
    from napari_vessel.completion.belief import Opinion


def opinions_of(verdicts: Iterable[tuple[Gap, VerdictRecord]], annotator: str | None = None) -> list[Opinion]:
    """Return what verdicts say about the pieces that the gaps would have joined.

    Who accepts or repaints a gap takes both its sides for vessels. Who rejects one may have meant the bridge or the
    piece: the refusal counts by the chance that it was the piece, as both scores had it.

    Parameters
    ----------
    verdicts : iterable of (Gap, VerdictRecord)
        Of any number of images. Those accepted in bulk (never on the screen: 0 seconds), unsure and skipped ones are
        left out, and so are gaps of which nothing is known.
    annotator : str, optional
        Whose; everybody's when left out.
    """
    from napari_vessel.completion.belief import Opinion

    found = []
    for gap, record in verdicts:
        if annotator not in (None, record.annotator) or not gap.facts or gap.link is None or gap.fragment is None:
            continue
        if record.verdict is Verdict.REJECTED:
            either = 1.0 - gap.link * gap.fragment
            found.append(Opinion(gap.facts, False, (1.0 - gap.fragment) / max(either, 1e-6)))
        elif record.verdict is Verdict.REPAINTED or (record.verdict is Verdict.ACCEPTED and record.seconds > 0.0):
            found.append(Opinion(gap.facts, True))
    return found
