"""One synthetic scene per modality: where the vessels are, and how the picture is taken of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_vessel.images.image import Modality
from napari_vessel.synthesis.appearance import (
    Drawing,
    Picture,
    blur,
    clouds,
    distance_from,
    draw_tree,
    render_fundus,
    render_octa,
    render_twophoton,
    render_xray,
)
from napari_vessel.synthesis.backgrounds import Background
from napari_vessel.synthesis.colonisation import VesselTree, join
from napari_vessel.synthesis.conditioned import draw_move, follow
from napari_vessel.synthesis.layouts import catheter, fundus_layout, meander, octa_layout, twophoton_layout, xray_layout
from napari_vessel.synthesis.likeness import Learnt

Shape = tuple[int, int]
Generator = np.random.Generator


@dataclass(frozen=True, eq=False, slots=True)
class Scene:
    """Vessels, and a camera.

    Attributes
    ----------
    tree : VesselTree
        All vessels.
    drawing : Drawing
        Where they are.
    fov : ndarray of bool, shape (Y, X), or None
        Field of view.
    render : callable
        From the share of every vessel that is to be seen, float32, shape (Y, X), to the picture.
    """

    tree: VesselTree
    drawing: Drawing
    fov: NDArray[np.bool_] | None
    render: Callable[[Picture], Picture]


def lay_out(
    rng: Generator, modality: Modality, shape: Shape, learnt: Learnt | None, ground: Background | None
) -> Scene:
    """Lay out a scene.

    Parameters
    ----------
    rng : numpy.random.Generator
        Decides everything.
    modality : Modality
        One that can be imitated.
    shape : tuple of int
        Height and width, px.
    learnt : Learnt or None
        A mask whose vessels are followed; free growth without.
    ground : Background or None
        Tissue to draw on; made up without.
    """
    mirror = bool(rng.random() < 0.5)
    placed = ground.fit(shape, mirror) if ground is not None else None
    trees, fov, camera = _MAKERS[modality](rng, shape, learnt, placed)
    drawings = [draw_tree(tree, shape) for tree in trees]
    whole = _together(drawings)
    if placed is not None:
        fov = placed.fov
        widest = max(float(tree.radii.max(initial=1.0)) for tree in trees)

        def render(share: Picture) -> Picture:
            assert placed is not None
            return placed.render(rng, whole, widest, share)
    else:
        if modality is Modality.OCTA:
            drawings = [_flowing(drawing) for drawing in drawings]

        def render(share: Picture) -> Picture:
            return camera([drawing.seen(share) for drawing in drawings])

    return Scene(join(trees), whole, fov, render)


Camera = Callable[[list[Drawing]], Picture]
Made = tuple[list[VesselTree], NDArray[np.bool_] | None, Camera]


def _together(drawings: list[Drawing]) -> Drawing:
    return Drawing(
        np.any([d.truth for d in drawings], axis=0),
        np.max([d.coverage for d in drawings], axis=0),
        np.max([d.depth for d in drawings], axis=0),
        np.max([d.core for d in drawings], axis=0),
    )


def _widen(tree: VesselTree, factor: float) -> VesselTree:
    return VesselTree(tree.points, tree.parents, np.maximum(tree.radii * factor, 0.6))


def _mirror(tree: VesselTree, shape: Shape) -> VesselTree:
    return VesselTree(tree.points * [1, -1] + [0, shape[1] - 1], tree.parents, tree.radii)


def _mirror_drawing(drawing: Drawing) -> Drawing:
    def flip(plane: Picture) -> Picture:
        return np.ascontiguousarray(plane[:, ::-1])

    truth = np.ascontiguousarray(drawing.truth[:, ::-1])
    return Drawing(truth, flip(drawing.coverage), flip(drawing.depth), flip(drawing.core))


def _flowing(drawing: Drawing) -> Drawing:
    """Return the drawing as flow, which is there or not: a vessel narrower than a pixel is as bright as a wide one."""
    flow = np.minimum(1.8 * drawing.coverage, 1.0).astype(np.float32)
    return Drawing(drawing.truth, flow, np.maximum(drawing.depth, 0.5 * flow), drawing.core)


def _faint(drawing: Drawing, share: float) -> Drawing:
    return drawing.seen(np.full(drawing.coverage.shape, share, np.float32))


def _log_uniform(rng: Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _circle(fov: NDArray[np.bool_]) -> tuple[float, float, float]:
    """Return middle and radius of the smallest upright circle around a field of view."""
    rows, columns = np.nonzero(fov)
    if len(rows) == 0:
        return (fov.shape[0] / 2, fov.shape[1] / 2, min(fov.shape) / 2)
    middle = ((rows.min() + rows.max()) / 2, (columns.min() + columns.max()) / 2)
    radius = max(float(np.ptp(rows)), float(np.ptp(columns))) / 2 + 0.5
    return (float(middle[0]), float(middle[1]), radius)


def _fundus(rng: Generator, shape: Shape, learnt: Learnt | None, ground: Background | None) -> Made:
    if learnt is not None:
        move = draw_move(rng, learnt, shape, mirror=None, upright=True)
        tree = follow(rng, learnt, move, Modality.FUNDUS)
        if ground is not None:
            fov = ground.fov
        elif learnt.fov is not None:
            fov = move.field(learnt.fov)
        else:
            fov = _disc_field(rng, shape)
        field = _circle(fov) if fov is not None else (shape[0] / 2, shape[1] / 2, max(shape) / 2)
        disc = tuple(move(np.array([learnt.origin]))[0].tolist())
        if ground is not None:
            # The vessels come out of the disc that is there, mirrored if it is on the other side.
            if (disc[1] - field[1]) * (ground.disc[1] - field[1]) < 0:
                tree = _mirror(tree, shape)
                disc = (disc[0], shape[1] - 1 - disc[1])
            tree = VesselTree(tree.points + np.subtract(ground.disc, disc), tree.parents, tree.radii)
            disc = ground.disc
        arteries, veins = _two_kinds(rng, tree)
        disc_radius = rng.uniform(0.13, 0.16) * field[2]
        side = 1.0 if disc[1] < field[1] else -1.0
        fovea = (disc[0] + 0.05 * field[2], disc[1] + side * 5.1 * disc_radius)
    else:
        if ground is not None and ground.fov is not None:
            layout = fundus_layout(rng, shape, field=_circle(ground.fov), disc=ground.disc)
            fov = ground.fov
        else:
            # Some cameras cut the field above and below, or show more of the surround.
            radius = min(shape) * (rng.uniform(0.44, 0.5) if rng.random() < 0.6 else rng.uniform(0.5, 0.62))
            middle = (0.5 * shape[0] - 0.5, 0.5 * shape[1] - 0.5)
            layout = fundus_layout(rng, shape, field=(*middle, radius))
            fov = np.asarray(distance_from(shape, middle) < radius, np.bool_)
        factor = _log_uniform(rng, 0.85, 1.6)
        arteries, veins = _widen(layout.arteries, factor), _widen(layout.veins, factor)
        field = (*layout.centre, layout.radius)
        disc, disc_radius, fovea = layout.disc, layout.disc_radius, layout.fovea

    def camera(drawings: list[Drawing]) -> Picture:
        strength = rng.uniform(0.35, 0.9)
        seen = [
            Drawing(d.truth, d.coverage, d.depth * np.float32(strength), d.core * np.float32(strength))
            for d in drawings
        ]
        picture = render_fundus(
            rng, seen[0], seen[1], disc=disc, disc_radius=disc_radius, fovea=fovea, centre=field[:2], radius=field[2]
        )
        return _photograph(rng, picture, fov, field)

    return [arteries, veins], fov, camera


def _disc_field(rng: Generator, shape: Shape) -> NDArray[np.bool_]:
    middle = (0.5 * shape[0] - 0.5, 0.5 * shape[1] - 0.5)
    return np.asarray(distance_from(shape, middle) < min(shape) * rng.uniform(0.46, 0.5), np.bool_)


def _two_kinds(rng: Generator, tree: VesselTree) -> tuple[VesselTree, VesselTree]:
    """Return every tree as artery or vein."""
    root = tree.roots()
    artery = (rng.random(len(root)) < 0.5)[root]
    return _only(tree, artery), _only(tree, ~artery)


def _only(tree: VesselTree, keep: NDArray[np.bool_]) -> VesselTree:
    index = np.cumsum(keep) - 1
    parents = tree.parents[keep]
    return VesselTree(tree.points[keep], np.where(parents >= 0, index[parents], -1), tree.radii[keep])


def _photograph(
    rng: Generator, picture: Picture, fov: NDArray[np.bool_] | None, field: tuple[float, float, float]
) -> Picture:
    """Return a photograph as another eye, lamp and camera would give it."""
    shape = (picture.shape[0], picture.shape[1])
    unit = field[2] / 270.0
    light = 1 + rng.uniform(0.02, 0.13) * clouds(rng, shape, 0.8 * min(shape))
    # The choroid shows through in bands.
    light += rng.uniform(0, 0.035) * clouds(rng, shape, 20 * unit)
    out = picture * np.clip(light, 0.3, 1.8)[..., None]
    for count, dark, largest in ((rng.integers(0, 9), True, 3.2), (rng.integers(0, 14), False, 3.5)):
        # Bleedings and drusen.
        if rng.random() < 0.6:
            continue
        for _ in range(int(count)):
            y, x = field[0] + rng.normal(0, 0.4) * field[2], field[1] + rng.normal(0, 0.4) * field[2]
            spot = np.exp(-((distance_from(shape, (y, x)) / (unit * rng.uniform(1.0, largest))) ** 4))
            tint = np.array([0.30, 0.5, 0.4]) if dark else np.array([-0.12, -0.30, -0.25])
            out *= 1 - rng.uniform(0.3, 0.9) * spot[..., None] * tint
    warmth = _log_uniform(rng, 0.6, 1.1)
    gain = np.array([rng.uniform(0.75, 1.2), warmth, warmth * _log_uniform(rng, 0.6, 1.4)])
    out = np.clip(out * gain, 0, 1) ** rng.uniform(0.8, 1.25)
    if rng.random() < 0.6:
        sigma = rng.uniform(0.4, 1.3) * max(unit, 0.6)
        out = np.stack([blur(plane, sigma) for plane in np.moveaxis(out, 2, 0)], axis=2)
        out = out + blur(rng.standard_normal(shape), 0.6)[..., None] * np.float32(rng.uniform(0, 0.012))
    if fov is not None:
        out = np.where(fov[..., None], out, 0.012 + 0.004 * rng.standard_normal((*shape, 1)))
    return np.asarray(np.clip(out, 0, 1), np.float32)


def _octa(rng: Generator, shape: Shape, learnt: Learnt | None, ground: Background | None) -> Made:
    if learnt is not None:
        move = draw_move(rng, learnt, shape, mirror=None, upright=False)
        tree = follow(rng, learnt, move, Modality.OCTA)
        centre = tuple(move(np.array([learnt.zone[:2]]))[0].tolist())
        zone = float(np.clip(0.8 * learnt.zone[2] * move.scale, 0.03 * min(shape), 0.075 * min(shape)))
    else:
        tree, centre, zone = octa_layout(rng, shape, density=rng.uniform(1.1, 1.75))
        tree = _widen(tree, _log_uniform(rng, 0.9, 1.7))
        if rng.random() < 0.5:
            tree = _mirror(tree, shape)
            centre = (centre[0], shape[1] - 1 - centre[1])
    rim = 1 / (1 + np.exp(-(distance_from(shape, centre) - zone) / (0.12 * zone)))

    def camera(drawings: list[Drawing]) -> Picture:
        (vessels,) = drawings
        picture = render_octa(rng, _faint(vessels, rng.uniform(0.85, 1.0)), zone=np.asarray(rim, np.float32))
        # Capillaries are brighter here and there, and the deeper the layer, the less of a vessel shows.
        floor = rng.uniform(0, 0.08) * np.clip(1 + 0.25 * clouds(rng, shape, 0.3 * min(shape)), 0, 2)
        out = picture * np.clip(1 + 0.1 * clouds(rng, shape, 0.5 * min(shape)), 0.5, 1.5)
        out = out + floor * rng.gamma(3.0, 1 / 3.0, shape)
        out = out * (1 + rng.uniform(0, 0.12) * rng.standard_normal((shape[0], 1)))
        return np.asarray(np.clip(out * rng.uniform(1.0, 1.6), 0, 1) ** rng.uniform(0.8, 1.25), np.float32)

    return [tree], None, camera


def _xray(rng: Generator, shape: Shape, learnt: Learnt | None, ground: Background | None) -> Made:
    if learnt is not None:
        move = draw_move(rng, learnt, shape, mirror=None, upright=True)
        tree = follow(rng, learnt, move, Modality.XRAY)
        first = tree.points[0].tolist()
        tube = catheter(shape, (first[0], first[1]))
    else:
        tree, tube = xray_layout(rng, shape, density=rng.uniform(1.2, 2.3))
        tree = _widen(tree, _log_uniform(rng, 0.9, 2.2))
        tube = _widen(tube, rng.uniform(0.7, 1.2))
    unit = min(shape) / 512.0
    points = meander(rng, tree.points, rng.uniform(0, 2.5) * unit, 24.0 * unit)
    points = meander(rng, points, rng.uniform(0, 1.2) * unit, 9.0 * unit)
    tree = VesselTree(points, tree.parents, tree.radii)
    # Seen from the other side, heart, ribs and spine lie the other way round too.
    mirrored = bool(rng.random() < 0.5)
    iodine, wire = _log_uniform(rng, 0.14, 1.0), rng.uniform(0.4, 1.0)

    def camera(drawings: list[Drawing]) -> Picture:
        # Iodine comes with the heart beat and mixes with blood: a wide vessel may be as faint as its twigs.
        mixed = 1 + rng.uniform(0, 0.45) * clouds(rng, shape, _log_uniform(rng, 0.12, 0.5) * min(shape))
        drawn = _mirror_drawing(drawings[0]) if mirrored else drawings[0]
        vessels = drawn.seen(np.asarray(iodine * np.clip(mixed, 0.3, 1.6), np.float32))
        picture = render_xray(
            rng,
            vessels,
            _faint(draw_tree(tube, shape), wire),
            bones=_log_uniform(rng, 0.1, 1.0),
            phase=rng.uniform(0, 1),
            soft=rng.uniform(0.5, 1.0),
            grain=rng.uniform(0.2, 1.0),
        )
        picture = np.ascontiguousarray(picture[:, ::-1]) if mirrored else picture
        out = picture * np.clip(1 + rng.uniform(0, 0.1) * clouds(rng, shape, 0.5 * min(shape)), 0.5, 1.5)
        if rng.random() < 0.5:
            out = out * _lung(rng, shape)
        if rng.random() < 0.6:
            out = _collimated(rng, out)
        out = blur(out, rng.uniform(0.3, 0.9)) + blur(rng.standard_normal(shape), 0.7) * _log_uniform(rng, 0.002, 0.03)
        out = rng.uniform(0.0, 0.2) + rng.uniform(0.5, 0.9) * out
        return np.asarray(np.clip(out, 0, 1) ** rng.uniform(0.8, 1.4), np.float32)

    return [_mirror(tree, shape) if mirrored else tree], None, camera


def _lung(rng: Generator, shape: Shape) -> Picture:
    """Return how much more light comes through where air is: beyond a curve with a sharp edge, at one side."""
    turn, height = rng.uniform(0, 2 * np.pi), rng.uniform(0.1, 0.5) * min(shape)
    y, x = np.arange(shape[0])[:, None] - shape[0] / 2, np.arange(shape[1])[None, :] - shape[1] / 2
    along, across = np.cos(turn) * x + np.sin(turn) * y, np.cos(turn) * y - np.sin(turn) * x
    edge = across - height - rng.uniform(-0.5, 0.5) * along**2 / min(shape)
    edge = edge + 0.02 * min(shape) * clouds(rng, shape, 0.3 * min(shape))
    air = 1 / (1 + np.exp(-np.clip(edge / (_log_uniform(rng, 0.003, 0.03) * min(shape)), -30, 30)))
    return np.asarray(1 + rng.uniform(0.1, 0.6) * air * (1 + 0.1 * clouds(rng, shape, 0.05 * min(shape))), np.float32)


def _collimated(rng: Generator, picture: Picture) -> Picture:
    """Return the picture with the dark edge that the collimator's blades leave: straight, cut corners, or a circle."""
    height, width = picture.shape
    side = min(height, width)
    y, x = np.arange(height)[:, None], np.arange(width)[None, :]
    soft, left = _log_uniform(rng, 0.002, 0.02) * side, rng.uniform(0.0, 0.5)
    blades = [rng.uniform(-0.02, 0.08) * side for _ in range(4)]
    inside = np.minimum(
        np.minimum(y - blades[0], height - 1 - y - blades[1]), np.minimum(x - blades[2], width - 1 - x - blades[3])
    )
    kind = rng.random()
    if kind < 0.25:
        cut = rng.uniform(0.04, 0.2) * side
        for across in (y + x, y + width - 1 - x, height - 1 - y + x, height + width - 2 - y - x):
            inside = np.minimum(inside, (across - sum(blades) / 2 - cut) / np.sqrt(2))
    elif kind < 0.4:
        inside = rng.uniform(0.47, 0.6) * side - distance_from(picture.shape, (height / 2, width / 2))
    lit = 1 / (1 + np.exp(-np.clip(inside / soft, -30, 30)))
    return np.asarray(picture * (left + (1 - left) * lit), np.float32)


def _twophoton(rng: Generator, shape: Shape, learnt: Learnt | None, ground: Background | None) -> Made:
    if learnt is not None:
        move = draw_move(rng, learnt, shape, mirror=None, upright=False)
        whole = follow(rng, learnt, move, Modality.TWOPHOTON)
        # Wide vessels lie on top.
        root = whole.roots()
        widest = np.zeros(len(root))
        np.maximum.at(widest, root, whole.radii)
        top = (widest > 2.5 * np.median(whole.radii)) | (rng.random(len(root)) < 0.4)
        trees = [tree for tree in (_only(whole, ~top[root]), _only(whole, top[root])) if len(tree.points)]
    else:
        pial, nets = twophoton_layout(rng, shape)
        trees = [*reversed(nets), pial] if len(pial.points) else list(reversed(nets))
    deepest = rng.uniform(0.3, 1.0)
    depths = np.linspace(deepest, 0.0, len(trees)).tolist()

    def camera(drawings: list[Drawing]) -> Picture:
        return render_twophoton(rng, list(zip(drawings, depths, strict=True)))

    return trees, None, camera


_MAKERS: dict[Modality, Callable[[Generator, Shape, Learnt | None, Background | None], Made]] = {
    Modality.FUNDUS: _fundus,
    Modality.OCTA: _octa,
    Modality.XRAY: _xray,
    Modality.TWOPHOTON: _twophoton,
}
