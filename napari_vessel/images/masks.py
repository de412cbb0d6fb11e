"""Masks in: any usual coding of vessels, mapped to labels by a rule that is stated and can be undone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_vessel.errors import InputError
from napari_vessel.images.decoding import check_array_shape, decode
from napari_vessel.images.image import UNCERTAIN, VESSEL, MaskClass, VesselMask

_TINT = 8
MAX_CLASSES = 16
"""More distinct values than this in an 8-bit or colour mask are compression or smoothing, not classes."""

MAX_LABEL = 254

_COLOUR_NAMES = {
    (True, False, False): "artery",
    (False, False, True): "vein",
    (False, True, False): "crossing",
    (True, True, True): UNCERTAIN,
}
_VALUE_NAMES = {1: "artery", 2: "vein", 3: "crossing"}


def read_mask(path: Path | str, shape: tuple[int, int] | None = None, plane: int | None = None) -> VesselMask:
    """Read a mask file.

    Parameters
    ----------
    path : Path or str
        PNG, TIFF, GIF, BMP, PPM or JPEG.
    shape : tuple of int, optional
        Height and width of the image the mask belongs to.
    plane : int, optional
        Page of a multi-page file, from 0. Ignored when the file has one page.

    Returns
    -------
    VesselMask
        Labels, classes, and the rule by which values became labels.

    Raises
    ------
    InputError
        If the file cannot be read, has another shape than the image, or is not a mask.
    """
    path = Path(path)
    decoded = decode(path, plane, single_page_for_any=True)
    try:
        mask = mask_from_array(decoded.array, lossy=decoded.lossy)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    if shape is not None:
        check_same_shape(f"The mask {path}", mask.labels.shape, shape)
    return mask


def check_same_shape(what: str, found: Sequence[int], wanted: Sequence[int]) -> None:
    """Raise InputError, naming both shapes (height x width), unless they are equal."""
    if tuple(found) != tuple(wanted):
        raise InputError(
            f"{what} is {found[0]} x {found[1]} px but its image is {wanted[0]} x {wanted[1]} px "
            "(height x width); give the one that belongs to this image."
        )


def mask_from_array(array: Any, *, lossy: bool = False) -> VesselMask:
    """Turn an array into a mask.

    The rule: 0 (or black) is background. One other value is the vessel. Up to 16 distinct values (up to 254 when
    they look like label numbers) or colours are classes. More distinct grey values are cut at half the maximum;
    more distinct colours are first rounded to the nearest pure colour.

    Parameters
    ----------
    array : array_like, shape (Y, X), (Y, X, 3) or (Y, X, 4)
        Booleans, whole numbers, floats or colours.
    lossy : bool, optional
        The values went through lossy compression (JPEG), so that neighbouring values mean the same.

    Returns
    -------
    VesselMask
        `labels` is a new array.

    Raises
    ------
    InputError
        If the array has another shape, negative or non-finite values, or looks like a photograph.
    """
    values = np.asarray(array)
    check_array_shape(values.shape, "The mask")
    if values.dtype.kind not in "buif":
        raise InputError("The mask does not hold numbers; give a mask of whole numbers, booleans or colours.")
    values = values.astype(values.dtype.newbyteorder("="), copy=False)
    if values.ndim == 3:
        colours = flatten_alpha(values)
        if colours.ndim == 3:
            light = _nearly_grey(colours)
            return _from_colours(colours, lossy) if light is None else _cut(light, int(light.max()), _kinds(light))
        values = colours
    if values.dtype == np.bool_:
        return VesselMask(values.astype(np.uint8), (VESSEL,), "True is vessel, written back as 255.")
    if values.dtype.kind == "f":
        return _from_floats(values)
    return _from_integers(values, lossy)


def flatten_alpha(values: NDArray[Any]) -> NDArray[Any]:
    """Return what a picture of (Y, X, 3 or 4) shows: black where it is transparent, (Y, X) when it is grey.

    A drawing that only alpha keeps, in one colour on the same or in black on whatever, is its alpha.
    """
    colours = values[..., :3]
    alpha: NDArray[Any] = values[..., -1]
    if values.shape[2] == 4 and bool((alpha != alpha[0, 0]).any()):
        # Programs leave any colour, often white, where nothing is to be seen; smoothed rims are half transparent.
        drawn = mask_from_array(alpha).mask
        if not colours[drawn].any() or bool((colours == colours[:1, :1]).all()):
            return alpha
        colours = np.where(drawn[..., None], colours, colours.dtype.type(0))
    grey = bool((colours[..., 0] == colours[..., 1]).all()) and bool((colours[..., 1] == colours[..., 2]).all())
    return colours[..., 0] if grey else colours


def _nearly_grey(colours: NDArray[Any]) -> NDArray[np.uint8] | None:
    """Return the brightness of a picture whose black and white are a little off, as DRIVE's second observer's are."""
    if colours.dtype != np.uint8:
        return None
    light: NDArray[np.uint8] = colours.max(axis=2)
    off = light - colours.min(axis=2)
    return light if int(off.max()) <= _TINT and int(light.max()) > 127 else None


def _kinds(values: NDArray[np.uint8]) -> int:
    return int(np.unique(values[values > 0]).size)


def _from_integers(values: NDArray[Any], lossy: bool) -> VesselMask:
    low, high = int(values.min()), int(values.max())
    if low < 0:
        raise InputError(f"The mask has negative values (down to {low}); use 0 for background, above 0 for vessels.")
    if high > np.iinfo(np.uint32).max:
        raise InputError(f"The mask has values up to {high}; use class numbers below 2^32.")
    present = _distinct(values, high)
    kinds = present[present > 0]
    if kinds.size == 0:
        return VesselMask(np.zeros(values.shape, np.uint8), (VESSEL,), "The mask is empty: every value is 0.")
    if kinds.size == 1:
        value = int(kinds[0])
        return VesselMask((values == value).astype(np.uint8), (MaskClass(1, value, "vessel"),), f"{value} is vessel.")
    # A smoothed or compressed 0/255 (or 0/65535) mask has many values and reaches into the upper half of its range,
    # whatever type it is kept in; label numbers change little from one vessel pixel to the next, and most label
    # images leave no number out.
    full = 255 if high <= 255 else 65535
    smoothed = kinds.size > MAX_CLASSES and full // 2 < high <= full
    if lossy or (smoothed and _flatness(values, high) <= (0.5 if int(kinds.size) == high else 0.9)):
        return _cut(values, high, int(kinds.size))
    if kinds.size > MAX_LABEL:
        return VesselMask(
            (values > 0).astype(np.uint8),
            (VESSEL,),
            f"{kinds.size} distinct labels are more than {MAX_LABEL}, so everything above 0 is vessel, "
            "written back as 255.",
        )
    labels = np.searchsorted(present, values).astype(np.uint8)
    if present[0] != 0:
        labels += 1
    few = set(kinds.tolist()) <= set(_VALUE_NAMES)
    classes = tuple(
        MaskClass(k + 1, int(v), _VALUE_NAMES[int(v)] if few else f"class {int(v)}") for k, v in enumerate(kinds)
    )
    listed = ", ".join(f"{c.value} is {c.name}" for c in classes[:MAX_CLASSES])
    more = f" and {len(classes) - MAX_CLASSES} more" if len(classes) > MAX_CLASSES else ""
    return VesselMask(labels, classes, f"Each value is a class: {listed}{more}.")


def _flatness(values: NDArray[Any], high: int) -> float:
    """Return which share of neighbours in the upper half and below the maximum have one value.

    A background that is not quite 0 is as flat as labels are, and so is the inside of a vessel, which is the maximum.
    """
    left, right = values[:, :-1], values[:, 1:]
    below = (left < high) & (right < high)
    # Labels may all be in the lower half but one, such as 255 for what is to be ignored.
    for least in (high // 2, 0):
        both = below & (left > least) & (right > least)
        if both.any():
            return float((left == right)[both].mean())
    return 0.0


def _distinct(values: NDArray[Any], high: int) -> NDArray[np.int64]:
    """Return the sorted distinct values; by counting where the range is small, which is much faster than sorting."""
    if high < 1 << 16:
        counts = np.bincount(values.ravel(), minlength=high + 1)
        return np.flatnonzero(counts).astype(np.int64)
    return np.unique(values).astype(np.int64)


def _cut(values: NDArray[Any], high: float, count: int) -> VesselMask:
    half = high / 2
    return VesselMask(
        (values > half).astype(np.uint8),
        (VESSEL,),
        f"{count + 1} distinct values, so it was cut at half the maximum: above {half:g} is vessel, "
        "written back as 255.",
    )


def _from_floats(values: NDArray[Any]) -> VesselMask:
    if not bool(np.isfinite(values).all()):
        raise InputError("The mask has values that are not numbers (NaN or infinite); replace them with 0.")
    if bool((values == np.rint(values)).all()) and float(np.abs(values).max()) <= np.iinfo(np.uint32).max:
        return _from_integers(values.astype(np.int64), lossy=False)
    low, high = float(values.min()), float(values.max())
    if low < 0:
        raise InputError(f"The mask has negative values (down to {low:g}); use 0 for background, above 0 for vessels.")
    return _cut(values, high, int(np.unique(values).size) - int(low == 0))


def _from_colours(colours: NDArray[Any], lossy: bool) -> VesselMask:
    if colours.dtype == np.uint16:
        # Values of 8 bits may lie in 16.
        colours = (colours >> (8 if int(colours.max()) > 255 else 0)).astype(np.uint8)
    elif colours.dtype.kind == "f":
        if not bool(np.isfinite(colours).all()) or float(colours.min()) < 0 or float(colours.max()) > 1:
            raise InputError("The colour mask has float values outside 0 to 1; save it with 8-bit colours.")
        colours = np.rint(colours * 255).astype(np.uint8)
    elif colours.dtype == np.bool_:
        colours = colours.astype(np.uint8) * np.uint8(255)
    elif colours.dtype != np.uint8:
        raise InputError(f"The colour mask has {colours.dtype} values; save it with 8-bit colours.")
    rounded = ""
    packed = _pack(colours)
    present = np.unique(packed)
    if lossy or np.count_nonzero(present) > MAX_CLASSES:
        pure = np.where(colours > 127, np.uint8(255), np.uint8(0))
        distance = np.abs(colours.astype(np.int16) - pure).max(axis=2)
        # Compression and smoothing blur the rims of vessels only; a photograph is nowhere near pure colours.
        if float((distance > 48).mean()) > 0.25:
            raise InputError(
                "it has thousands of colours and looks like a photograph; give a mask with one colour per class."
            )
        packed = _pack(pure)
        present = np.unique(packed)
        rounded = " after rounding to pure colours"
    kinds = [(int(p) >> 16, (int(p) >> 8) & 255, int(p) & 255) for p in present if p != 0]
    order = list(_COLOUR_NAMES)
    kinds.sort(key=lambda c: (order.index(_corner(c)) if _corner(c) in order else len(order), c))
    classes: list[MaskClass] = []
    labels = np.zeros(packed.shape, np.uint8)
    for number, colour in enumerate(kinds, start=1):
        name = _COLOUR_NAMES.get(_corner(colour), "")
        if not name or any(c.name == name for c in classes):
            name = f"class {number}"
        classes.append(MaskClass(number, colour, name))
        labels[packed == ((colour[0] << 16) | (colour[1] << 8) | colour[2])] = number
    if not classes:
        return VesselMask(labels, (VESSEL,), f"The mask is empty{rounded}: every pixel is black.")
    listed = ", ".join(f"{c.value} is {c.name}" for c in classes)
    return VesselMask(labels, tuple(classes), f"Each colour is a class{rounded}: {listed}.")


def _pack(colours: NDArray[np.uint8]) -> NDArray[np.uint32]:
    wide = colours.astype(np.uint32)
    return np.asarray((wide[..., 0] << 16) | (wide[..., 1] << 8) | wide[..., 2], np.uint32)


def _corner(colour: tuple[int, int, int]) -> tuple[bool, bool, bool]:
    return (colour[0] > 127, colour[1] > 127, colour[2] > 127)


def labels_to_values(
    labels: NDArray[Any], classes: Sequence[MaskClass]
) -> NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.uint32]:
    """Return labels as the values of the file they came from: the inverse of reading.

    Parameters
    ----------
    labels : ndarray of bool or uint8, shape (Y, X)
        True is label 1.
    classes : sequence of MaskClass
        What each label is written as.

    Returns
    -------
    ndarray, shape (Y, X) or (Y, X, 3)
        uint8; uint16 or uint32 when a value needs it; uint8 colours when any class has one.

    Raises
    ------
    InputError
        If a label has no class.
    """
    labels = np.asarray(labels).astype(np.uint8, copy=False)
    colour = any(isinstance(c.value, tuple) for c in classes)
    numbers = [c.value for c in classes if isinstance(c.value, int)]
    largest = max(numbers, default=0)
    table: NDArray[Any]
    if colour:
        if largest > 255:
            raise InputError("Colour classes cannot be mixed with class values above 255; give every class a colour.")
        table = np.zeros((256, 3), np.uint8)
    else:
        table = np.zeros(256, np.uint8 if largest < 256 else np.uint16 if largest < 65536 else np.uint32)
    known = {0}
    for entry in classes:
        table[entry.label] = entry.value
        known.add(entry.label)
    strangers = sorted(set(np.flatnonzero(np.bincount(labels.ravel(), minlength=1)).tolist()) - known)
    if strangers:
        raise InputError(f"Label {strangers[0]} of the mask belongs to no class; repaint it with a class of this mask.")
    values: NDArray[Any] = table[labels]
    return values
