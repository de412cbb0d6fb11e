"""Settling a disagreement between two annotators: mine is kept, or theirs taken, as one edit of my session."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_vessel.errors import InputError, VesselError
from napari_vessel.jobs import Job
from napari_vessel.review.agreement import Agreement, compare_projects
from napari_vessel.review.edits import (
    Edit,
    EditKind,
    MaskEdit,
    Verdict,
    VerdictChange,
    VerdictRecord,
    packed,
    unpacked,
)
from napari_vessel.review.fragments import FragmentChange
from napari_vessel.review.journal import now
from napari_vessel.review.pairs import FragmentPair, Pair

if TYPE_CHECKING:
    from napari_vessel.review.project import Project
    from napari_vessel.review.session import ReviewSession

_TAKEN_BACK = "You have taken your verdict on it back since; take theirs, or decide it among the gaps or fragments."
_REACH = 2.0
"""How far from a gap's path a repainted mask is taken from the other, in calibres."""


@dataclass(frozen=True, eq=False, slots=True)
class Comparison:
    """A comparison with another annotator's project, which need not be open any more.

    Attributes
    ----------
    agreement : Agreement
        My project is the first.
    masks : dict
        By the id of an image of mine with disagreements, the other's mask: shape, and packed 0 and 1.
    """

    agreement: Agreement
    masks: dict[str, tuple[tuple[int, int], bytes]]

    def theirs(self, image_id: str) -> NDArray[np.uint8] | None:
        """Return the other's mask of an image of mine, 0 and 1, uint8, shape (Y, X); None without disagreements."""
        if image_id not in self.masks:
            return None
        shape, data = self.masks[image_id]
        return unpacked(data, shape)


def compare_with(project: Project, folder: Path) -> Job[Comparison]:
    """Compare an open project with the one in another folder, as a job; that one is open while the job runs.

    Raises
    ------
    InputError
        If it is the same project, or has no image in common.
    ProjectError
        If it cannot be opened.
    """
    from napari_vessel.review.project import Project

    if folder.expanduser().resolve() == project.folder:
        raise InputError(f"{folder} is the open project itself; choose the folder of another annotator's.")
    with Project.open(folder) as other:
        agreement = yield from compare_projects(project, other)
        masks = {}
        for image in agreement.images:
            if image.disagreements:
                labels = other.read_mask(image.second_id).labels
                shape = (int(labels.shape[0]), int(labels.shape[1]))
                masks[image.first_id] = (shape, packed((labels > 0).view(np.uint8)))
    return Comparison(agreement, masks)


def keep_mine(session: ReviewSession, pair: Pair | FragmentPair, seconds: float) -> Edit:
    """Say again what I said, having seen the other's.

    Parameters
    ----------
    session : ReviewSession
        Of the image.
    pair : Pair or FragmentPair
        The disagreement.
    seconds : float
        How long it was on the screen.

    Raises
    ------
    VesselError
        If my verdict on it was taken back since.
    """
    edit: Edit
    if isinstance(pair, Pair):
        mine = session.verdicts.get(pair.id)
        if mine is None:
            raise VesselError(_TAKEN_BACK)
        again = replace(mine, annotator=session.annotator, when=now(), seconds=seconds)
        changes = (VerdictChange(pair.gap, mine, again),)
        edit = Edit(EditKind.VERDICT, f"kept {pair.what} as {mine.verdict}", (), changes)
    else:
        said = session.fragment_verdicts.get(pair.id)
        if said is None:
            raise VesselError(_TAKEN_BACK)
        repeated = replace(said, annotator=session.annotator, when=now(), seconds=seconds)
        again_said = (FragmentChange(pair.fragment, said, repeated),)
        edit = Edit(EditKind.FRAGMENT, f"kept fragment as {said.verdict}", fragments=again_said)
    session.apply(edit)
    return edit


def take_theirs(
    session: ReviewSession, pair: Pair | FragmentPair, theirs: NDArray[np.uint8], seconds: float
) -> Edit | None:
    """Give their verdict as mine, and do to the mask what it means; None when that is what I say already.

    Where one of the two repainted, the mask near the gap becomes what theirs is there.

    Parameters
    ----------
    session : ReviewSession
        Of the image.
    pair : Pair or FragmentPair
        The disagreement.
    theirs : ndarray of uint8, shape (Y, X)
        Their mask, 0 and 1.
    seconds : float
        How long it was on the screen.

    Raises
    ------
    VesselError
        If the gap is no longer listed, or the fragment is no longer the one that was judged.
    """
    if isinstance(pair, FragmentPair):
        return session.decide_fragment(pair.fragment, pair.second.verdict, seconds)
    mine = session.verdicts.get(pair.id)
    drawn = {pair.second.verdict, None if mine is None else mine.verdict}
    if Verdict.REPAINTED not in drawn or theirs.shape != session.shape:
        return session.decide(pair.id, pair.second.verdict, seconds)
    record = VerdictRecord(pair.second.verdict, session.annotator, now(), seconds, pair.gap.score)
    change = _copied(session, pair, theirs)
    edit = Edit(
        EditKind.VERDICT,
        f"{record.verdict} {pair.what} as the other did",
        () if change is None else (change,),
        (VerdictChange(pair.gap, mine, record),),
    )
    session.apply(edit)
    return edit


def _copied(session: ReviewSession, pair: Pair, theirs: NDArray[np.uint8]) -> MaskEdit | None:
    """Describe how the mask near a gap becomes theirs; a vessel that both have keeps its class."""
    from napari_vessel.completion.drawing import completion_class, draw_path

    (top, left), near = draw_path(pair.gap.path, 2.0 * _REACH * pair.gap.widths, session.shape)
    window = np.s_[top : top + near.shape[0], left : left + near.shape[1]]
    before = session.labels[window]
    drawn = completion_class(pair.gap, session.labels)
    known = {entry.label for entry in session.classes}
    label = np.uint8(drawn if drawn in known else session.classes[0].label)
    wanted = np.where(theirs[window] > 0, np.where(before > 0, before, label), np.uint8(0))
    after = np.where(near, wanted, before).astype(np.uint8)
    return MaskEdit.between(before, after, (top, left))
