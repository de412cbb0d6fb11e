"""The search for gaps of one image, kept from edit to edit."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from napari_vessel.completion.belief import Opinion
from napari_vessel.completion.following import Following, is_due
from napari_vessel.completion.gap import Gap
from napari_vessel.completion.propose import checked, proposals
from napari_vessel.completion.search import LookedAt, look_at
from napari_vessel.images.image import VesselImage
from napari_vessel.jobs import Job


class GapSearch:
    """Finds the gaps of an image's mask, again and again while it is edited.

    The first search is that of :func:`~napari_vessel.completion.find_gaps`. After small edits only their surroundings
    are searched again. The result is what a search of the whole mask gives that has the calibre, and the evidence that
    was weighed against the mask, of the last whole search. A large edit, or many small ones that together changed a
    tenth of the vessels, have the whole mask searched.

    Parameters
    ----------
    image : VesselImage or ndarray, shape (Y, X) or (Y, X, 3), or None
        The picture.
    probability, completion : ndarray, shape (Y, X), or None
        Maps, as for :func:`~napari_vessel.completion.propose_gaps`.
    fov : ndarray of bool, shape (Y, X), or None
        Field of view; the image's own when not given.
    tips : bool
        Whether to propose where a vessel should go on, too.
    """

    def __init__(
        self,
        image: VesselImage | NDArray[np.generic] | None = None,
        probability: NDArray[np.floating] | None = None,
        completion: NDArray[np.floating] | None = None,
        fov: NDArray[np.bool_] | None = None,
        *,
        tips: bool = False,
    ) -> None:
        self._image, self._probability, self._completion, self._fov = image, probability, completion, fov
        self._tips = tips
        self._found: LookedAt | None = None
        self._following: Following | None = None

    def find(
        self,
        mask: NDArray[np.generic],
        *,
        rejected: Collection[Gap] = (),
        opinions: Sequence[Opinion] = (),
        all_vessels: bool = False,
    ) -> Job[list[Gap]]:
        """Find the gaps of a mask, as a job.

        Parameters
        ----------
        mask : ndarray, shape (Y, X)
            Anything but 0 is vessel; always of one shape.
        rejected, opinions, all_vessels
            As for :func:`~napari_vessel.completion.find_gaps`.

        Returns
        -------
        list of Gap
            Best first.

        Raises
        ------
        InputError
            If the arrays do not have one shape.
        """
        vessel, fov = checked(mask, self._image, self._probability, self._completion, self._fov)
        found = None
        if not self._is_due(vessel):
            if self._following is None:
                assert self._found is not None
                self._following = yield from Following.begin(self._found, fov, self._tips)
                self._found = None
            found = yield from self._following.change(vessel)
        if found is None:
            self._following = self._found = None
            found = yield from look_at(vessel, self._image, self._probability, self._completion, fov, tips=self._tips)
            self._found = found
        return [] if found is None else (yield from proposals(found, rejected, opinions, all_vessels))

    def _is_due(self, vessel: NDArray[np.bool_]) -> bool:
        """Tell whether the whole mask is to be searched."""
        if self._following is not None:
            return self._following.is_large(vessel)
        if self._found is None:
            return True
        before = self._found.network.mask
        return is_due(vessel, before, 0, int(np.count_nonzero(before)))
