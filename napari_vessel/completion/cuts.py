"""The audit of false bridges: connections in a mask that join what is not one vessel, proposed as cuts.

Whether a connection is a mistake is the logistic of a sum with one term per observation, as in
:mod:`~napari_vessel.completion.scoring`. The terms were fitted by ``benchmarks/fit_cuts.py`` and lie in ``cuts.json``.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import cache, partial
from importlib.resources import files
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from napari_vessel.completion.candidates import Network
from napari_vessel.completion.connections import Connection, Host, connections, observe_connection
from napari_vessel.completion.drawing import cut_gap
from napari_vessel.completion.evidence import Evidence
from napari_vessel.completion.gap import Effect, Gap, GapEnd, GapKind, Reason
from napari_vessel.completion.paths import pixels_of
from napari_vessel.completion.propose import checked
from napari_vessel.completion.ranking import LEAST_SCORE, gap_id
from napari_vessel.completion.scoring import Additive, added, chance, short, strongest
from napari_vessel.completion.search import gather, take_apart, without_border
from napari_vessel.images.image import VesselImage
from napari_vessel.jobs import Job, Progress, run_job
from napari_vessel.topology.labelling import Labelling

_YIELD_SECONDS = 0.1
_WIDER = (1.5, 2.5, 4.0)
"""What a cut adds to the width of the connection, px, one after the other until the two sides come apart."""


def propose_cuts(
    mask: NDArray[np.generic],
    image: VesselImage | NDArray[np.generic] | None = None,
    probability: NDArray[np.floating] | None = None,
    *,
    completion: NDArray[np.floating] | None = None,
    fov: NDArray[np.bool_] | None = None,
) -> list[Gap]:
    """Find connections of a vessel mask that join what is not one vessel, and propose to cut each.

    Parameters
    ----------
    mask, image, probability, completion, fov
        As for :func:`~napari_vessel.completion.propose_gaps`.

    Returns
    -------
    list of Gap
        Of kind cut, best first; the score is the chance that the connection is a mistake. The path runs along the
        connection from wall to wall; :func:`~napari_vessel.completion.drawing.cut_gap` tells the pixels to erase.

    Raises
    ------
    InputError
        If the arrays do not have one shape.
    """
    return run_job(find_cuts(mask, image, probability, completion=completion, fov=fov))


def find_cuts(
    mask: NDArray[np.generic],
    image: VesselImage | NDArray[np.generic] | None = None,
    probability: NDArray[np.floating] | None = None,
    *,
    completion: NDArray[np.floating] | None = None,
    fov: NDArray[np.bool_] | None = None,
    rejected: Collection[Gap] = (),
) -> Job[list[Gap]]:
    """Do as :func:`propose_cuts`, as a job that shows its progress and can be stopped.

    Parameters
    ----------
    mask, image, probability, completion, fov
        As for :func:`propose_cuts`.
    rejected : collection of Gap
        Cuts an annotator has refused, and gaps that were closed by hand: a cut whose middle lies on one is left out.
    """
    vessel, fov = checked(mask, image, probability, completion, fov)
    network = yield from take_apart(vessel)
    if network is None:
        return []
    inside = None if fov is None else without_border(fov, network.calibre)
    evidence = yield from gather(network, image, probability, completion, inside)
    model = cut_model(_looked_at(evidence))
    labelling = Labelling(network.mask)
    found: list[Gap] = []
    last = perf_counter()
    for one in connections(network):
        # Beyond the field of view the image shows nothing, which says nothing against what was drawn there.
        if one is not None and (inside is None or inside[tuple(pixels_of(one.cut, inside.shape).T)].all()):
            seen = observe_connection(one, network, evidence)
            logit = model.logit(seen)
            if chance(logit) >= LEAST_SCORE:
                gap = _proposal(one, seen, model, network, evidence, labelling)
                if gap is not None and not any(_lies_on(gap, other) for other in rejected):
                    found.append(gap)
        if one is None or perf_counter() - last > _YIELD_SECONDS:
            yield Progress(1.0, None, "Weighing connections", {"cuts": float(len(found))})
            last = perf_counter()
    return sorted(found, key=lambda gap: (-gap.score, gap.id))


def _lies_on(cut: Gap, other: Gap) -> bool:
    """Tell whether the middle of a cut lies on another cut, or on what closing a gap drew."""
    near = max(float(other.widths.max(initial=0.0)) / 2.0, 1.0) + 1.0
    return bool((np.hypot(*(other.path - np.asarray(cut.centre)).T) <= near).any())


def cut_model(looked_at: str) -> Additive:
    """Return the model that answers whether a connection is a mistake, by what there is to look at."""
    return _models()[looked_at]


@cache
def _models() -> dict[str, Additive]:
    text = files("napari_vessel.completion").joinpath("cuts.json").read_text(encoding="utf-8")
    return {name: Additive.from_json(entry) for name, entry in json.loads(text)["cut"].items()}


def _looked_at(evidence: Evidence | None) -> str:
    """Name what there is beside the mask: ``"image"``, ``"map"`` (of any model), ``"image+map"``, or nothing."""
    if evidence is None:
        return ""
    there = {
        "image": evidence.ridge,
        "map": evidence.probability if evidence.completion is None else evidence.completion,
    }
    return "+".join(name for name, field in there.items() if field is not None)


def _proposal(
    one: Connection,
    seen: Mapping[str, float],
    model: Additive,
    network: Network,
    evidence: Evidence | None,
    labelling: Labelling,
) -> Gap | None:
    """Make the proposal, wide enough for the two sides to come apart; None when they do not."""
    y, x = pixels_of(one.cut, network.mask.shape).T
    way = one.cut[-1] - one.cut[0]
    unit = way / max(float(np.hypot(*way)), 1e-9)
    path = one.cut.astype(np.float32)
    logit = model.logit(seen)
    bare = Gap(
        id=gap_id(one.hosts[0].place, one.hosts[1].place, GapKind.CUT),
        kind=GapKind.CUT,
        ends=(_end(one, one.hosts[0], path[0], unit), _end(one, one.hosts[1], path[-1], -unit)),
        path=path,
        widths=np.zeros(len(path), np.float32),
        score=chance(logit),
        reasons=cut_reasons(seen, model.contributions(seen), one, logit),
        effect=Effect(network.count, network.count, one.length, 0.0 if one.loop else one.smaller_px, 0),
        calibrated=True,
        completion=None if evidence is None or evidence.completion is None else float(evidence.completion[y, x].mean()),
    )
    for more in _WIDER:
        gap = replace(bare, widths=(2.0 * network.radius[y, x] + more).astype(np.float32))
        parts, loops = _change(gap, labelling)
        if parts in (0, 1) and loops == 1 - parts:
            effect = replace(bare.effect, components_after=network.count + parts, cycles=-loops)
            return replace(gap, effect=effect)
    return None


def _end(one: Connection, host: Host, point: NDArray[np.float32], out: NDArray[np.float64]) -> GapEnd:
    place = (float(point[0]), float(point[1]))
    return GapEnd(one.component, place, (float(out[0]), float(out[1])), host.radius, False)


def _change(gap: Gap, labelling: Labelling) -> tuple[int, int]:
    """Return how many components more, and how many loops fewer, a mask has after a cut."""
    height, width = labelling.labels.shape
    (y, x), patch = cut_gap(gap, (height, width))
    window = labelling.labels[y : y + patch.shape[0], x : x + patch.shape[1]] > 0
    b0, b1 = labelling.b0, labelling.b1
    labelling.change((y, x), window & ~patch)
    parts, loops = labelling.b0 - b0, b1 - labelling.b1
    labelling.change((y, x), window)
    return parts, loops


def cut_reasons(
    seen: Mapping[str, float], terms: Mapping[str, float], one: Connection, logit: float
) -> tuple[Reason, ...]:
    """Say what speaks for a mistake and against it, strongest first; together they are the score's log-odds.

    Parameters
    ----------
    seen : mapping of str to float
        The observations.
    terms : mapping of str to float
        What each of them added, in log-odds.
    one : Connection
        The connection.
    logit : float
        Log-odds of the score.
    """
    of = partial(added, terms)
    square = seen["slant_other"] < 0.4 and seen["slant"] < 0.7
    on = seen["bend_other"] < 0.2 and seen["bend"] < 0.4
    thick = [2.0 * host.radius for host in one.hosts]
    found = [
        Reason(
            "meets both vessels at about right angles" if square else "leaves a vessel at an acute angle",
            of("slant", "slant_other"),
        ),
        Reason(
            "both vessels run straight on without it" if on else "a vessel bends where it leaves",
            of("bend", "bend_other"),
        ),
        Reason(
            "a vessel runs on from it" if seen["onward"] > 0.7 else "no vessel runs on from it",
            of("onward", "onward_other"),
        ),
        Reason(
            "between parallel vessels" if seen.get("parallel", 0.0) > 0.8 else "between vessels at an angle",
            of("parallel"),
        ),
        Reason(
            f"{one.length:.0f} px long ({one.length / max(one.calibre, 1.0):.1f} calibres)",
            of("length", "reach", "slender", "winding"),
        ),
        Reason(
            f"{one.width:.1f} px wide between vessels of {thick[0]:.1f} and {thick[1]:.1f} px",
            of("width", "width_other", "neck", "hosts", "thin"),
        ),
        Reason(
            "closes a loop" if one.loop else "the only connection of the two sides",
            of("loop", "size", "way_round", "arms"),
        ),
    ]
    if "ridge" in seen:
        ridge = f"ridge {short(seen['ridge'])} along it"
        found.append(Reason("no ridge in the image" if seen["ridge"] < 0.15 else ridge, of("ridge", "ridge_dip")))
        contrast = of(
            "contrast",
            "contrast_side",
            "contrast_worst",
            "contrast_best",
            "clear",
            "level",
            "level_worst",
            "dark",
            "dark_tee",
        )
        found.append(Reason("hardly stands out" if contrast > 0 else "stands out from both sides", contrast))
    if "likely" in seen:
        text = f"probability {short(seen['likely'])} along it, {short(seen['likely_least'])} at the weakest"
        found.append(Reason(text, of("likely", "likely_least", "likely_dip")))
    kept = strongest(found)
    rest = logit - sum(reason.contribution for reason in kept)
    return (*kept, Reason("most connections are vessels", rest))
