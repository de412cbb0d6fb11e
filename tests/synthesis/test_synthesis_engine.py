"""The data engine: exact truth, the same for everyone."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
import pytest
from scipy.spatial import cKDTree

from napari_vessel.errors import InputError
from napari_vessel.images.image import Modality
from napari_vessel.synthesis.appearance import draw_tree
from napari_vessel.synthesis.conditioned import draw_move, follow
from napari_vessel.synthesis.engine import MODALITIES, Background, Likeness, SyntheticImage, synthesize
from napari_vessel.synthesis.layouts import fundus_layout
from napari_vessel.synthesis.scenes import lay_out
from napari_vessel.topology.skeleton import centreline

CASES = [(modality, seed) for modality in MODALITIES for seed in range(2)]


@cache
def made(modality: Modality, seed: int) -> SyntheticImage:
    return synthesize(modality, seed, shape=(220, 220))


@cache
def likeness(modality: Modality) -> Likeness:
    return Likeness.of([made(modality, 1).truth], [made(modality, 1).image.fov])


def other_sides() -> list[tuple[int, int]]:
    return [(131, 257), (201, 129)]


@pytest.mark.parametrize("modality", MODALITIES)
def test_the_same_arguments_give_the_same_image(modality: Modality) -> None:
    first, again = (synthesize(modality, 3, shape=(201, 233)) for _ in range(2))
    assert first.image.shape == (201, 233)
    assert first.image.modality is modality
    for name in ("truth", "hidden", "ends"):
        assert np.array_equal(getattr(first, name), getattr(again, name))
    assert np.array_equal(first.image.pixels, again.image.pixels)
    assert first.image.content_hash == again.image.content_hash
    assert not (first.hidden & ~first.truth).any()


def test_what_cannot_be_imitated_is_told() -> None:
    with pytest.raises(InputError, match="fundus, octa, xray, twophoton"):
        synthesize(Modality.OTHER, 0)
    with pytest.raises(InputError, match="too small"):
        synthesize(Modality.OCTA, 0, shape=(40, 300))
    with pytest.raises(InputError, match="too large"):
        synthesize(Modality.OCTA, 0, shape=(300, 60_000))


def test_nothing_is_learnt_of_empty_masks() -> None:
    with pytest.raises(InputError, match="at least one"):
        Likeness.of([])
    with pytest.raises(InputError, match="Mask 1 shows no vessel"):
        Likeness.of([np.zeros((100, 100), np.bool_)])


def test_a_background_has_no_vessels_left() -> None:
    made = synthesize(Modality.OCTA, 1)
    plain = Background.of(made.image, made.truth)
    seen = made.truth & ~made.hidden
    assert plain.pixels[seen].mean() < 0.7 * made.image.pixels[seen].mean()


@pytest.mark.parametrize(("modality", "seed"), CASES)
def test_an_image_and_what_is_true_of_it(modality: Modality, seed: int) -> None:
    one = made(modality, seed)
    pixels = one.image.pixels
    assert pixels.dtype == np.float32
    assert 0 <= pixels.min() < pixels.max() <= 1
    assert np.array_equal(pixels, np.rint(pixels * 255).astype(np.float32) / np.float32(255))
    assert pixels.ndim == (3 if modality is Modality.FUNDUS else 2)
    assert one.truth.shape == one.hidden.shape == one.image.shape
    assert 0.01 < one.truth.mean() < 0.6
    assert not (one.hidden & ~one.truth).any()
    if one.image.fov is not None:
        assert not one.truth[~one.image.fov].any()
    assert len(one.ends) % 2 == 0
    # A vessel ends there, and what follows is no part of the truth.
    lines = np.argwhere(centreline(one.truth))
    for y, x in one.ends:
        assert np.hypot(*(lines - (y, x)).T).min() < 12


def test_truth_is_what_was_drawn() -> None:
    scene = lay_out(np.random.default_rng(2), Modality.XRAY, (260, 240), None, None)
    assert np.array_equal(scene.drawing.truth, draw_tree(scene.tree, (260, 240)).truth)


@pytest.mark.parametrize("modality", MODALITIES)
def test_what_is_hidden_cannot_be_seen(modality: Modality) -> None:
    def stand_out(one: SyntheticImage, part: np.ndarray) -> float:
        channel = one.image.vessel_channel()
        beside = (cv2.dilate(one.truth.astype(np.uint8), np.ones((5, 5), np.uint8)) == 0).astype(np.float32)
        if one.image.fov is not None:
            beside *= one.image.fov
        share = cv2.GaussianBlur(beside, (0, 0), 6)
        around = cv2.GaussianBlur(channel * beside, (0, 0), 6) / np.maximum(share, 1e-3)
        known = part & (share > 0.1)
        sign = -1 if modality.dark_vessels else 1
        return sign * float((channel - around)[known].mean())

    hidden, seen = zip(
        *(
            (stand_out(one, one.hidden), stand_out(one, one.truth & ~one.hidden))
            for one in map(made, [modality] * 4, range(4))
            if one.hidden.sum() > 20
        ),
        strict=True,
    )
    assert np.mean(seen) > 0.02
    assert np.mean(hidden) < 0.4 * np.mean(seen)


@pytest.mark.parametrize("modality", MODALITIES)
@pytest.mark.parametrize("shape", other_sides())
def test_odd_sizes(modality: Modality, shape: tuple[int, int]) -> None:
    like = likeness(modality)
    ground = Background.of(made(modality, 0).image, made(modality, 0).truth)
    for one in (
        synthesize(modality, 4, shape=shape),
        synthesize(modality, 4, shape=shape, like=like, backgrounds=[ground]),
    ):
        assert one.image.shape == one.truth.shape == shape
        assert one.truth.any()


@pytest.mark.parametrize("modality", MODALITIES)
def test_conditioned_vessels_are_nearer_to_the_given_ones_than_free_ones(modality: Modality) -> None:
    like = likeness(modality)
    learnt = like.masks[0]
    ratios = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        move = draw_move(rng, learnt, learnt.shape, mirror=False, upright=True)
        real = cKDTree(move(learnt.points))
        tree = follow(rng, learnt, move, modality)
        free = synthesize(modality, 20 + seed, shape=learnt.shape).truth
        near = np.median(real.query(tree.points)[0])
        far = np.median(real.query(np.argwhere(centreline(free)))[0])
        ratios.append(near / far)
        calibre = 2 * float(np.median(tree.radii))
        assert 0.6 * like.calibre < calibre < 1.8 * like.calibre + 0.8
    assert np.mean(ratios) < 0.5


def test_a_field_of_view_of_the_whole_frame_is_as_none() -> None:
    mask = made(Modality.OCTA, 1).truth
    bare, framed = Likeness.of([mask]), Likeness.of([mask], [np.ones_like(mask)])
    for seed in range(3):
        # Else vessels would stop short of the frame.
        first, second = (synthesize(Modality.OCTA, seed, like=like) for like in (bare, framed))
        assert np.array_equal(first.truth, second.truth)


@pytest.mark.parametrize("modality", MODALITIES)
def test_a_mask_with_one_short_vessel_is_followed(modality: Modality) -> None:
    mask = np.zeros((300, 300), np.bool_)
    mask[150:153, 100:116] = True
    like = Likeness.of([mask])
    for seed in range(3):
        assert synthesize(modality, seed, like=like).truth.sum() < 0.02 * mask.size


def test_one_likeness_gives_many_trees() -> None:
    like = likeness(Modality.OCTA)
    first, second = (synthesize(Modality.OCTA, seed, like=like).truth for seed in (0, 1))
    assert first.shape == second.shape == like.shape
    assert 2 * (first & second).sum() / (first.sum() + second.sum()) < 0.5


def test_vessels_are_drawn_on_ones_own_image_as_dark_as_its_own() -> None:
    whole = made(Modality.XRAY, 2)
    plain = Background.of(whole.image, whole.truth)
    assert plain.dark
    one = synthesize(Modality.XRAY, 9, backgrounds=[plain])
    assert one.image.shape == whole.image.shape
    fitted = {mirror: plain.fit(plain.shape, mirror).pixels[..., 0] for mirror in (False, True)}
    away = cv2.dilate(one.truth.astype(np.uint8), np.ones((15, 15), np.uint8)) == 0
    away &= (
        cv2.dilate(synthesize(Modality.XRAY, 9, shape=(220, 220)).truth.astype(np.uint8), np.ones((3, 3), np.uint8))
        == 0
    )
    kept = min(np.abs(one.image.pixels - pixels)[away].max() for pixels in fitted.values())
    # Where no vessel was drawn, and none ends or hides, it is the image as it was.
    assert kept < 0.05
    line = centreline(one.truth & ~one.hidden)
    drawn = np.median(
        (
            1
            - one.image.pixels
            / np.maximum(min(fitted.values(), key=lambda p: np.abs(p - one.image.pixels)[away].max()), 0.02)
        )[line]
    )
    assert 0.4 * plain.contrast.min() < drawn < 2.0 * plain.contrast.max()


def test_ridges_take_the_vessels_out_of_an_unlabelled_image() -> None:
    whole = made(Modality.FUNDUS, 0)
    plain = Background.of(whole.image)
    seen = whole.truth & ~whole.hidden
    ring = (cv2.dilate(seen.astype(np.uint8), np.ones((15, 15), np.uint8)) > 0) & ~seen
    assert whole.image.fov is not None
    ring &= whole.image.fov

    def dip(green: np.ndarray) -> float:
        return float(green[ring].mean() - green[seen].mean())

    assert dip(plain.pixels[..., 1]) < 0.5 * dip(whole.image.pixels[..., 1])


def test_masks_and_fields_that_do_not_fit_are_told() -> None:
    mask = made(Modality.OCTA, 1).truth
    with pytest.raises(InputError, match="give one for each"):
        Likeness.of([mask], [])
    with pytest.raises(InputError, match="give one of its size"):
        Likeness.of([mask], [mask[:100]])
    with pytest.raises(InputError, match="give a mask of its size"):
        Background.of(made(Modality.OCTA, 1).image, mask[:100])
    with pytest.raises(InputError, match="no seed"):
        synthesize(Modality.OCTA, -1)


@pytest.mark.parametrize("artery", [True, False])
def test_murrays_law_holds_where_vessels_branch(artery: bool) -> None:
    layout = fundus_layout(np.random.default_rng(3), (400, 400))
    tree = layout.arteries if artery else layout.veins
    cubes = np.zeros(len(tree.parents))
    inner = tree.parents >= 0
    np.add.at(cubes, tree.parents[inner], tree.radii[inner] ** 3)
    forks = (tree.children() > 1) & (tree.radii > 1.2)
    assert forks.sum() > 10
    ratio = cubes[forks] / tree.radii[forks] ** 3
    # More where a twig would be too thin to be drawn; less where one leaves the field, or thinner ones on the way.
    assert (ratio < 1.08).all()
    assert 0.95 < np.median(ratio) < 1.02
