"""Two projects over the same images: how far two annotators agree, and where they do not.

Images belong together when their content is the same; gaps when they have one name, else when both ends lie at the
same places (and neither or both are to be cut); fragments when they are the same, else when their boxes have most in
common. Accepted and repainted mean *join* (of a cut: *part*), rejected means *leave*; agreement and Cohen's kappa
(Cohen, 1960) are over the gaps that both have said one of the two of, likewise over the cuts, and over the fragments
that both have kept or deleted.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_vessel.completion.gap import GapKind
from napari_vessel.errors import InputError
from napari_vessel.images.writing import replacing, write_json
from napari_vessel.jobs import Job, Progress
from napari_vessel.review.fragments import standing
from napari_vessel.review.pairs import TOLERANCE, DecidedFragment, FragmentPair, Pair, match_fragments, match_gaps
from napari_vessel.untrusted import MALFORMED, read_text

if TYPE_CHECKING:
    from napari_vessel.review.project import Project
    from napari_vessel.review.records import ImageRecord

KIND = "napari-vessel comparison"
COLUMNS = (
    "rank", "image", "gap", "first", "first_annotator", "second", "second_annotator", "y", "x", "length_px",
    "connected_px", "score", "kind",
)  # fmt: skip
DRAWS = 10_000


@dataclass(frozen=True, eq=False, slots=True)
class ImageAgreement:
    """One image of both projects.

    Attributes
    ----------
    name : str
        In the first project.
    first_id, second_id : str
        Its ids in the two projects.
    pairs : tuple of Pair
        Gaps and cuts with two verdicts.
    fragments : tuple of FragmentPair
        Fragments with two verdicts.
    only_first, only_second : int
        Gaps with a verdict in one project alone.
    dice, cldice : float or None
        Of the two masks; None when one project has no mask of it.
    """

    name: str
    first_id: str
    second_id: str
    pairs: tuple[Pair, ...]
    fragments: tuple[FragmentPair, ...]
    only_first: int
    only_second: int
    dice: float | None
    cldice: float | None

    @property
    def table(self) -> NDArray[np.int64]:
        """Gaps by what the first (row) and the second (column) said, leave before join, shape (2, 2)."""
        return _table([pair for pair in self.pairs if not pair.is_cut])

    @property
    def cut_table(self) -> NDArray[np.int64]:
        """Cuts by what the first (row) and the second (column) said, part before leave, shape (2, 2)."""
        return _table([pair for pair in self.pairs if pair.is_cut])

    @property
    def kappa(self) -> float | None:
        """Cohen's kappa over its gaps; None where it is not defined."""
        value = float(kappa(self.table))
        return None if np.isnan(value) else value

    @property
    def fragment_table(self) -> NDArray[np.int64]:
        """Fragments by what the first (row) and the second (column) said, deleted before kept, shape (2, 2)."""
        return _table(self.fragments)

    @property
    def disagreements(self) -> list[Pair | FragmentPair]:
        """What to look at again: contradictions first, then what one left undecided; the most vessel at stake first."""
        both: list[Pair | FragmentPair] = [*self.pairs, *self.fragments]
        return sorted((pair for pair in both if pair.is_disagreement), key=_urgency)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and its 95 % interval, by drawing images; None where it is not defined."""

    value: float | None
    low: float | None = None
    high: float | None = None

    def to_json(self) -> dict[str, float | None]:
        """Return plain values, with six decimals."""
        names = {"value": self.value, "low": self.low, "high": self.high}
        return {name: None if value is None else round(value, 6) for name, value in names.items()}


@dataclass(frozen=True, eq=False, slots=True)
class Agreement:
    """What two projects agree on. Make one with :func:`compare_projects`.

    Attributes
    ----------
    names : tuple of str
        The two projects.
    annotators : tuple of tuple of str
        Who gave the verdicts in each.
    images : tuple of ImageAgreement
        Those that are in both.
    unshared : tuple of int
        How many images each project has for itself.
    """

    names: tuple[str, str]
    annotators: tuple[tuple[str, ...], tuple[str, ...]]
    images: tuple[ImageAgreement, ...]
    unshared: tuple[int, int]

    @property
    def figures(self) -> dict[str, Estimate]:
        """``kappa`` and ``agreement`` (0 to 1) over all gaps, all cuts, all fragments; mean ``dice``, ``cldice``."""
        cuts = np.asarray([image.cut_table for image in self.images], np.int64).reshape(-1, 2, 2)
        gaps = np.asarray([image.table for image in self.images], np.int64).reshape(-1, 2, 2)
        fragments = np.asarray([image.fragment_table for image in self.images], np.int64).reshape(-1, 2, 2)
        return {
            "kappa": _pooled(gaps, kappa),
            "agreement": _pooled(gaps, _agreement),
            "cut_kappa": _pooled(cuts, kappa),
            "cut_agreement": _pooled(cuts, _agreement),
            "fragment_kappa": _pooled(fragments, kappa),
            "fragment_agreement": _pooled(fragments, _agreement),
            "dice": _mean([image.dice for image in self.images]),
            "cldice": _mean([image.cldice for image in self.images]),
        }

    @property
    def disagreements(self) -> list[tuple[ImageAgreement, Pair | FragmentPair]]:
        """Those of all images, in the same order."""
        found = [(image, pair) for image in self.images for pair in image.disagreements]
        return sorted(found, key=lambda one: _urgency(one[1]))

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        table = sum((image.table for image in self.images), np.zeros((2, 2), np.int64))
        cuts = sum((image.cut_table for image in self.images), np.zeros((2, 2), np.int64))
        fragments = sum((image.fragment_table for image in self.images), np.zeros((2, 2), np.int64))
        pairs = [pair for image in self.images for pair in image.pairs]
        return {
            "kind": KIND,
            "projects": [
                {"name": name, "annotators": list(who), "images_of_its_own": own}
                for name, who, own in zip(self.names, self.annotators, self.unshared, strict=True)
            ],
            "images": len(self.images),
            "gaps": {
                "both_join": int(table[1, 1]),
                "both_leave": int(table[0, 0]),
                "only_first_joins": int(table[1, 0]),
                "only_second_joins": int(table[0, 1]),
                "undecided_by_one_or_both": sum(not pair.is_cut for pair in pairs) - int(table.sum()),
                "verdict_in_first_only": sum(image.only_first for image in self.images),
                "verdict_in_second_only": sum(image.only_second for image in self.images),
            },
            "cuts": {
                "both_part": int(cuts[0, 0]),
                "both_leave": int(cuts[1, 1]),
                "only_first_parts": int(cuts[0, 1]),
                "only_second_parts": int(cuts[1, 0]),
                "undecided_by_one_or_both": sum(pair.is_cut for pair in pairs) - int(cuts.sum()),
            },
            "fragments": {
                "both_keep": int(fragments[1, 1]),
                "both_delete": int(fragments[0, 0]),
                "only_first_keeps": int(fragments[1, 0]),
                "only_second_keeps": int(fragments[0, 1]),
                "undecided_by_one_or_both": sum(len(image.fragments) for image in self.images) - int(fragments.sum()),
            },
            "figures": {name: estimate.to_json() for name, estimate in self.figures.items()},
            "by_image": [
                {
                    "image": image.name,
                    "gaps": sum(not pair.is_cut for pair in image.pairs),
                    "cuts": sum(pair.is_cut for pair in image.pairs),
                    "fragments": len(image.fragments),
                    "contradictions": sum(pair.contradicts for pair in (*image.pairs, *image.fragments)),
                    "dice": None if image.dice is None else round(image.dice, 6),
                    "cldice": None if image.cldice is None else round(image.cldice, 6),
                }
                for image in self.images
            ],
            "disagreements": self.rows(),
        }

    def rows(self) -> list[dict[str, Any]]:
        """Return the disagreements in order, one dict of :data:`COLUMNS` each."""
        return [
            dict(zip(COLUMNS, _row(rank, image, pair), strict=True))
            for rank, (image, pair) in enumerate(self.disagreements, start=1)
        ]


def compare_projects(first: Project, second: Project, tolerance: float = TOLERANCE) -> Job[Agreement]:
    """Compare two open projects, as a job; nothing is changed.

    Parameters
    ----------
    first, second : Project
        Two annotators' projects over the same images.
    tolerance : float
        See :data:`TOLERANCE`.

    Returns
    -------
    Agreement
        Of the images that are in both, in the order of the first.

    Raises
    ------
    InputError
        If there is no such image.
    ProjectError
        If verdicts or masks are damaged.
    """
    ours, theirs = first.images(), {record.content_hash: record for record in second.images()}
    shared = [(record, theirs[record.content_hash]) for record in ours if record.content_hash in theirs]
    if not shared:
        raise InputError(
            f"The projects {first.folder} and {second.folder} have no image in common; give two projects over the "
            "same image files."
        )
    images: list[ImageAgreement] = []
    who: tuple[set[str], set[str]] = (set(), set())
    for number, (one, other) in enumerate(shared):
        yield Progress(number, len(shared), f"Comparing {one.name}")
        verdicts = first.verdicts(one.id), second.verdicts(other.id)
        for names, decided in zip(who, verdicts, strict=True):
            names.update(record.annotator for _, record in decided if record.annotator)
        pairs = match_gaps(*verdicts, tolerance)
        fragments = match_fragments(_fragments(first, one), _fragments(second, other))
        for pair in fragments:
            for names, said in zip(who, (pair.first, pair.second), strict=True):
                names.update({said.annotator} - {""})
        dice, cldice = _overlap(first, one, second, other)
        both = sum(not pair.is_cut for pair in pairs)
        alone = [sum(gap.kind is not GapKind.CUT for gap, _ in decided) - both for decided in verdicts]
        images.append(
            ImageAgreement(one.name, one.id, other.id, tuple(pairs), tuple(fragments), alone[0], alone[1], dice, cldice)
        )
    return Agreement(
        (first.name, second.name),
        (tuple(sorted(who[0])), tuple(sorted(who[1]))),
        tuple(images),
        (len(ours) - len(shared), len(theirs) - len(shared)),
    )


def kappa(table: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return Cohen's kappa of tables of counts, shape (..., 2, 2); NaN where chance alone would always agree."""
    total = table.sum(axis=(-2, -1))
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = table / total[..., None, None]
        agree = shares[..., 0, 0] + shares[..., 1, 1]
        chance = (shares.sum(axis=-1) * shares.sum(axis=-2)).sum(axis=-1)
        return np.asarray(np.where(chance < 1.0, (agree - chance) / (1.0 - chance), np.nan))


def check_output(out: Path) -> None:
    """Raise InputError if a comparison would replace a file that is none."""
    if out.exists() and not _is_own(out):
        raise InputError(f"{out} is there and is no comparison; name another file after -o.")


def write_agreement(out: Path, agreement: Agreement) -> None:
    """Write the disagreements as ``.csv``, or everything as ``.json``.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    if out.suffix.lower() == ".json":
        write_json(out, agreement.to_json())
        return
    with replacing(out) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(agreement.rows())


# Inside


def _row(rank: int, image: ImageAgreement, pair: Pair | FragmentPair) -> tuple[Any, ...]:
    y, x = pair.centre
    length, score = (
        (pair.gap.length, round(pair.gap.score, 4))
        if isinstance(pair, Pair)
        else (float(pair.fragment.length_px), None)
    )
    return (
        rank,
        image.name,
        pair.id,
        pair.first.verdict.value,
        pair.first.annotator,
        pair.second.verdict.value,
        pair.second.annotator,
        round(y, 1),
        round(x, 1),
        round(length, 1),
        round(pair.stake_px, 1),
        score,
        pair.what,
    )


def _is_own(file: Path) -> bool:
    try:
        text = read_text(file)
        if file.suffix == ".json":
            return bool(json.loads(text)["kind"] == KIND)
        # One of before there were fragments lacks the last column.
        return text.startswith(",".join(COLUMNS[:-1]))
    except (OSError, *MALFORMED):
        return False


def _overlap(
    first: Project, one: ImageRecord, second: Project, other: ImageRecord
) -> tuple[float | None, float | None]:
    from napari_vessel.topology.metrics import cl_dice, dice_coefficient

    if not first.has_mask(one.id) or not second.has_mask(other.id):
        return None, None
    masks = [project.read_mask(record.id).labels > 0 for project, record in ((first, one), (second, other))]
    return dice_coefficient(*masks), cl_dice(*masks)


def _table(pairs: Sequence[Pair | FragmentPair]) -> NDArray[np.int64]:
    counts = np.zeros((2, 2), np.int64)
    for pair in pairs:
        if pair.decided is not None:
            counts[int(pair.decided[0]), int(pair.decided[1])] += 1
    return counts


def _urgency(pair: Pair | FragmentPair) -> tuple[bool, float, float]:
    return not pair.contradicts, -pair.stake_px, -pair.gap.score if isinstance(pair, Pair) else 0.0


def _fragments(project: Project, record: ImageRecord) -> list[DecidedFragment]:
    """Return the verdicts on fragments that hold for the mask as it is now."""
    from napari_vessel.topology.components import label_components

    decided = project.fragment_verdicts(record.id)
    return standing(decided, label_components(project.read_mask(record.id).labels)[0]) if decided else []


def _agreement(table: NDArray[np.int64]) -> NDArray[np.float64]:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((table[..., 0, 0] + table[..., 1, 1]) / table.sum(axis=(-2, -1)))


def _pooled(tables: NDArray[np.int64], statistic: Any) -> Estimate:
    """Return a statistic of all images' gaps together, and its interval by drawing whole images."""
    value = float(statistic(tables.sum(axis=0)))
    if np.isnan(value):
        return Estimate(None)
    judged = tables[tables.sum(axis=(1, 2)) > 0]
    if len(judged) < 2:
        return Estimate(value)
    chosen = np.random.default_rng(0).integers(len(judged), size=(DRAWS, len(judged)))
    drawn = statistic(judged[chosen].sum(axis=1))
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return Estimate(value, float(low), float(high))


def _mean(values: Sequence[float | None]) -> Estimate:
    from napari_vessel.topology.metrics import mean_interval

    known = [value for value in values if value is not None]
    if not known:
        return Estimate(None)
    mean, between = mean_interval(known)
    return Estimate(mean) if between is None else Estimate(mean, *between)
