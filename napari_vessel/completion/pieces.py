"""What is known of each piece of a mask that bears on whether it is a vessel at all."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_vessel.completion.candidates import Network
from napari_vessel.completion.evidence import Evidence


def observe_pieces(network: Network, evidence: Evidence | None) -> dict[str, NDArray[np.float64]]:
    """Measure every component of a mask.

    Parameters
    ----------
    network : Network
        The mask.
    evidence : Evidence or None
        Image, probability and completion map, as far as there are any.

    Returns
    -------
    dict of str to ndarray of float64, shape (count + 1,)
        By name, indexed by label: ``size`` and ``area`` as logs to base 2 of calibres and square calibres, ``slender``
        as length over width, ``piece_ridge``, ``piece_likely``, ``piece_completion`` as means over its pixels,
        ``piece_contrast`` against the background beside it.
    """
    import cv2

    count = len(network.lengths) - 1
    y, x = np.nonzero(network.labels)
    owners = network.labels[y, x]
    area = np.maximum(np.bincount(owners, minlength=count + 1), 1).astype(np.float64)
    length = np.maximum(network.lengths, 1.0)
    seen = {
        "size": np.clip(np.log2((network.lengths + 1.0) / network.calibre), -3.0, 6.0),
        "area": np.log2(area / network.calibre**2),
        "slender": np.log2(np.maximum(length**2 / area, 1.0)),
    }

    def mean(field: NDArray[np.floating]) -> NDArray[np.float64]:
        return np.bincount(owners, weights=field[y, x], minlength=count + 1) / area

    if evidence is None:
        return seen
    if evidence.ridge is not None and evidence.brightness is not None:
        seen["piece_ridge"] = mean(evidence.ridge)
        # Against the background around, a calibre or two away.
        size = 2 * round(2.0 * network.calibre) + 3
        outside = (~network.mask).astype(np.float32)
        weight = cv2.blur(outside, (size, size))
        local = cv2.blur(evidence.brightness * outside, (size, size)) / np.maximum(weight, 1e-3)
        seen["piece_contrast"] = np.clip(mean(evidence.brightness - local) / evidence.contrast, -1.0, 3.0)
    if evidence.probability is not None:
        seen["piece_likely"] = mean(evidence.probability)
        most = np.zeros(count + 1)
        np.maximum.at(most, owners, evidence.probability[y, x])
        seen["piece_surest"] = most
    if evidence.completion is not None:
        seen["piece_completion"] = mean(evidence.completion)
    return seen
