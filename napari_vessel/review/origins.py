"""Who decided each pixel of a mask: the model, or the annotator, and how."""

from __future__ import annotations

from enum import IntEnum


class Origin(IntEnum):
    """Who decided a pixel.

    Attributes
    ----------
    NEVER_REVIEWED
        Nobody: the image is not done, and nothing was decided here.
    MODEL
        The model (or the mask the image came with), and the annotator who called the image done agreed.
    ACCEPTED
        A gap or cut that was accepted, a cut that was rejected (the vessel is real), or a fragment that was kept.
    REPAINTED
        A stroke of a repaint.
    BRUSH
        Any other stroke, or a component that was deleted.
    REJECTED
        There is no vessel: the drawing of a gap that was rejected, or a fragment that was deleted.
    UNSURE
        The annotator does not know.
    """

    NEVER_REVIEWED = 0
    MODEL = 1
    ACCEPTED = 2
    REPAINTED = 3
    BRUSH = 4
    REJECTED = 5
    UNSURE = 6
