"""Colours, chosen to be told apart by colour-blind eyes (after Okabe and Ito), each used for one thing only."""

from __future__ import annotations

from collections.abc import Sequence

from napari_vessel.images.image import MaskClass

COMPLETION = "#ff00ff"
"""The proposed completion; nothing else is magenta."""

CUT = "#000000"
CUT_BETWEEN = "#ffffff"
"""What a proposed cut would erase: bands of black and white like barrier tape, to be seen on any mask and image."""

PREVIEW = "#f0e442"

FRAGMENT = "#ffe600"
"""A piece apart from the main tree; never seen together with the preview, which takes the mask's place."""

ADDED = "#00d68f"
REMOVED = "#ffffff"
"""What a review has added to the mask, and what it has taken from it."""

THEIRS = "#ffa000"
"""Outline of another annotator's mask."""

NEW_MODEL, OLD_MODEL = ADDED, THEIRS
"""Outlines of what two models draw, the new one's above: what is orange is the old one's alone."""

MARK = "#ffffff"
"""Around the fragment under review, at the ends of the cut under review, and over what a bulk action would delete."""

MASK_COLOURS = {"light blue": "#56c8ff", "orange": "#e69f00", "blue": "#0072b2", "grey": "#bbbbbb"}
"""Of a mask with one class, by the names in the preferences; magenta, yellow and green mean something else."""

_BY_NAME = {"vessel": "#56c8ff", "artery": "#d55e00", "vein": "#0072b2"}
_OTHERS = ("#009e73", "#e69f00", "#cc79a7", "#999999")


def class_colours(classes: Sequence[MaskClass], preferred: str = "light blue") -> dict[int | None, str]:
    """Return a colour per label, for a napari label colormap; labels that are no class look like the first.

    A mask with one class has the preferred of :data:`MASK_COLOURS`.
    """
    colours: dict[int | None, str] = {0: "transparent"}
    if len(classes) == 1:
        alone = MASK_COLOURS.get(preferred, MASK_COLOURS["light blue"])
        return colours | {classes[0].label: alone, None: alone}
    spare = 0
    for mask_class in classes:
        colour = _BY_NAME.get(mask_class.name)
        if colour is None:
            colour = _OTHERS[spare % len(_OTHERS)]
            spare += 1
        colours[mask_class.label] = colour
    colours[None] = colours[classes[0].label]
    return colours


STATE_MARKS = {
    "open": "○ open",
    "accepted": "✔ accepted",
    "repainted": "✎ repainted",
    "rejected": "✘ rejected",
    "unsure": "? unsure",
    "skipped": "» skipped",
    "kept": "✔ kept",
    "deleted": "✘ deleted",
}
"""Each state by a shape and a word, never by colour alone."""
