"""Missing tips: where the evidence for a vessel goes on beyond the mask, and leads nowhere else."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from napari_vessel.completion.candidates import Network
from napari_vessel.completion.drafts import Draft, drafted, radius_at
from napari_vessel.completion.drawn import contacts_of, pieces_beyond, start_at, wall_at, ways_from
from napari_vessel.completion.evidence import Evidence
from napari_vessel.completion.paths import length_of, pixels_of, smooth

SUPPORT = 0.2
"""Evidence from which on a pixel may be vessel."""

SHORTEST = 2.5
"""Shortest tip worth a key, in median calibres."""


def drafts_of_tips(network: Network, evidence: Evidence, fov: NDArray[np.bool_] | None) -> Iterator[Draft | None]:
    """Draw a course along every line of the evidence that leaves the mask at one place and does not come back.

    Parameters
    ----------
    network : Network
        The mask.
    evidence : Evidence
        What there is to look at.
    fov : ndarray of bool, shape (Y, X), or None
        Field of view; nothing outside it counts.

    Yields
    ------
    Draft or None
        None between steps. The component a tip leads to is 0.
    """
    for found in pieces_beyond(network, beyond(evidence, fov) & ~network.mask):
        yield None
        if found is not None:
            yield draft_of_tip(found[1], network, evidence, found[2])


def beyond(evidence: Evidence, fov: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    """Return what may be vessel by the evidence, bool, shape (Y, X)."""
    likely = np.asarray(evidence.support >= SUPPORT)
    return likely if fov is None else likely & fov


def draft_of_tip(
    pixels: NDArray[np.intp], network: Network, evidence: Evidence, radius: NDArray[np.float32]
) -> Draft | None:
    """Draw a course along one piece, as :func:`~napari_vessel.completion.drawn.pieces_beyond` yields it; None for none.

    Parameters
    ----------
    pixels : ndarray of int, shape (N, 2)
        (y, x) of its centreline.
    network, evidence
        As for :func:`drafts_of_tips`.
    radius : ndarray of float32, shape (Y, X)
        Local radius of mask and evidence together, px.
    """
    network.reads.note_path(pixels, 2)
    contacts = contacts_of(pixels, network.labels)
    if len(pixels) < SHORTEST * network.calibre or len(contacts) != 1:
        return None
    way = ways_from(pixels, contacts[0])
    wall = wall_at(contacts[0], way[0])
    path = smooth(np.concatenate([wall[None], pixels[way]]).astype(np.float64))
    path[0] = wall
    # From the side of a wide vessel a line may begin well inside what the wall blurs into.
    if length_of(path) < max(SHORTEST * network.calibre, 2.0 * radius_at(network, path[0])):
        return None
    y, x = pixels_of(path, radius.shape).T
    widths = np.clip(2.0 * radius[y, x], 1.0, max(2.0 * float(np.median(radius[y[1:], x[1:]])), 1.0))
    end = network.end_at((int(wall[0]), int(wall[1])))
    start = start_at(network, path, end, float(widths.mean()) / 2.0)
    return drafted(network, start, (path, 0), evidence, widths=np.asarray(widths, np.float32))
