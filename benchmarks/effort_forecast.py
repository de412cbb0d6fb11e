"""How well verdicts on some images foretell what a bulk accept does to others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from common import decimal, markdown_table

from napari_vessel.review.calibration import Calibration, Judged, most_wrong

CUTS = (0.5, 0.7, 0.9)
SPLITS = 500
LEAST = 4


def forecasts(images: Sequence[dict[str, Any]], seed: int = 0) -> tuple[dict[str, Any], str]:
    """Learn from the verdicts on a random half of the images, and forecast bulk accepts on the other half.

    Parameters
    ----------
    images : sequence of dict
        With ``proposals``: score, and whether the annotator takes it.
    seed : int
        Of the halves.

    Returns
    -------
    dict, str
        Means over :data:`SPLITS` halves, by score, and their table; empty for fewer than :data:`LEAST` images.
    """
    if len(images) < LEAST:
        return {}, ""
    rng = np.random.default_rng(seed)
    pairs = [[Judged(score, right) for score, right in image["proposals"]] for image in images]
    found: dict[float, list[tuple[float, ...]]] = {cut: [] for cut in CUTS}
    suggested = broken = 0
    for _ in range(SPLITS):
        order = rng.permutation(len(images))
        learnt = [one for n in order[: len(order) // 2] for one in pairs[n]]
        rest = [one for n in order[len(order) // 2 :] for one in pairs[n]]
        calibration = Calibration.from_verdicts(learnt)
        for cut in CUTS:
            above = [one for one in rest if one.score >= cut]
            expected = float((1.0 - calibration.probability([one.score for one in above])).sum())
            raw = sum(1.0 - one.score for one in above)
            wrong = sum(not one.right for one in above)
            seen, refused = calibration.seen_above(cut)
            upper = most_wrong(refused, seen, len(above))
            found[cut].append((seen, len(above), wrong, expected, raw, upper, wrong > upper))
        cut = calibration.suggest().cut
        if cut is not None:
            suggested += 1
            taken = [one.right for one in rest if one.score >= cut]
            broken += len(taken) > 0 and 1.0 - np.mean(taken) > 0.05
    names = ("verdicts", "gaps", "wrong", "forecast", "score_alone", "bound", "above_bound")
    means = {f"{cut:g}": dict(zip(names, np.mean(found[cut], axis=0).tolist(), strict=True)) for cut in CUTS}
    rows = [
        [cut, *(decimal(one[name], 2 if name == "above_bound" else 1) for name in names)] for cut, one in means.items()
    ]
    heads = [
        "from score",
        "verdicts learnt from",
        "gaps accepted",
        "wrong",
        "forecast",
        "by the score alone",
        "at most",
    ]
    text = (
        "Verdicts of the first observer on a random half of the images, and the forecast of a bulk accept on the "
        f"other, mean of {SPLITS} halves:\n\n{markdown_table([*heads, 'share of halves with more'], rows)}\n\n"
        f"A score for less than 5 % wrong was suggested in {suggested} of the {SPLITS} halves; in {broken} of them the "
        "other half had more.\n\n"
    )
    return {"by_score": means, "halves": SPLITS, "suggested": suggested, "promise_broken": broken}, text
