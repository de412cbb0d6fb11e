"""Measurements in a report: a few figures that are read most, before and after the review."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from napari_vessel.export.html import Content, Markup, element, paragraph, table
from napari_vessel.review.measuring import Reviewed
from napari_vessel.topology.measurement import FIGURES, Figure
from napari_vessel.topology.measurement.tables import WHOLE
from napari_vessel.topology.metrics import mean_interval

SHOWN = (
    *("vessel_area_density", "skeleton_length_density", "components", "longest_component_length", "calibre_mean"),
    *("tortuosity_distance", "bifurcations", "ends", "ends_per_length", "fractal_dimension"),
)
"""The figures; the command ``measure`` writes all."""

_FIGURES = [figure for figure in FIGURES if figure.name in SHOWN]
_UNITS = {"um": "µm", "px": "px"}


def means(images: Sequence[Reviewed]) -> Iterable[Markup]:
    """Yield the section on all images; those measured in pixels and in micrometres apart."""
    yield element("h2", "Measurements")
    for unit in dict.fromkeys(one.after.unit for one in images):
        chosen = [one for one in images if one.after.unit == unit]
        rows: list[list[Content]] = []
        for figure in _FIGURES:
            pairs = [(one.before.figures[figure.name], one.after.figures[figure.name]) for one in chosen]
            known = [(old, new) for old, new in pairs if old is not None and new is not None]
            if known:
                name, factor = _named(figure, unit)
                old, new = ([factor * pair[k] for pair in known] for k in (0, 1))
                change = [b - a for a, b in zip(old, new, strict=True)]
                rows.append([name, *(_mean(values) for values in (old, new, change))])
        many = "1 image" if len(chosen) == 1 else f"{len(chosen)} images"
        which = paragraph(f"{many}, lengths in {_UNITS[unit]}:") if len(chosen) < len(images) else None
        yield element("div", which, table(["Mean over images", "before", "after", "change"], rows), class_="together")
    yield paragraph(
        "Inside the field of view; in brackets 95 % intervals, by drawing images with replacement. All figures, in "
        "tables: napari-vessel measure. Without a pixel size lengths are in px and compare only between images of one "
        "scale.",
        soft=True,
    )


def of_image(found: Reviewed) -> Iterable[Markup]:
    """Yield the table of one image; between what a figure lies where gaps or cuts were left unsure."""
    between = found.intervals()[WHOLE]
    rows: list[list[Content]] = []
    for figure in _FIGURES:
        old, new = found.before.figures[figure.name], found.after.figures[figure.name]
        name, factor = _named(figure, found.after.unit)
        row: list[Content] = [name, _written(old, factor), _written(new, factor)]
        if found.unsure:
            ends = between.get(figure.name)
            written = [] if ends is None else [_written(end, factor) for end in ends]
            row.append(" to ".join(dict.fromkeys(written)))
        rows.append(row)
    header = ["Measured", "before", "after"]
    if found.unsure:
        header.append(f"with {found.unsure} unsure open or closed")
    yield table(header, rows, "short")


def _named(figure: Figure, length: str) -> tuple[str, float]:
    """Return a figure's name with the unit that it is read in, and what to multiply it by for that."""
    unit, factor = figure.readable(length)
    return f"{figure.title}, {unit}" if unit else figure.title, factor


def _mean(values: Sequence[float]) -> str:
    mean, interval = mean_interval(values)
    told = _written(mean)
    return told if interval is None else f"{told} ({_written(interval[0])} to {_written(interval[1])})"


def _written(value: float | None, factor: float = 1.0) -> str:
    """Return a figure with three or four digits that count, and never as a power of ten."""
    if value is None:
        return "not defined"
    value *= factor
    size = abs(value)
    digits = next((n for least, n in ((100, 0), (10, 1), (0.1, 3), (0.01, 4), (0.001, 5)) if size >= least), 6)
    text = f"{value:.0f}" if value == int(value) else f"{value:.{digits}f}"
    return text.replace("-", "\N{MINUS SIGN}")
