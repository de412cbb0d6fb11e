"""TopoMask hides what it says, nowhere else, and what it hides is gone."""

from dataclasses import replace
from functools import cache

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt
from scipy.stats import rankdata

from napari_vessel.errors import InputError
from napari_vessel.synthesis.samples import SAMPLES, make_sample
from napari_vessel.topology.calibre import median_calibre
from napari_vessel.topology.skeleton import centreline, label_branches
from napari_vessel.training.augmentation import build_levels, random_crop
from napari_vessel.training.crops import CropSource
from napari_vessel.training.recipe import AugmentationRecipe, CropRecipe, DataRecipe, Recipe
from napari_vessel.training.recipe_reading import read_recipe
from napari_vessel.training.topomask import Masking, TopoMaskRecipe, choose_regions, hide

STYLES = ("faithful", "corrected")
STRETCHES = {"shortest": 3.0, "longest": 45.0}


@cache
def scene(kind, seed=0):
    """Return pixels (Y, X, C), vessels, field of view and calibre of a synthetic picture."""
    sample = make_sample(kind, seed=seed, shape=(256, 256))
    pixels = sample.image.pixels
    vessel = sample.truth.mask > 0
    fov = np.ones(vessel.shape, bool) if sample.image.fov is None else sample.image.fov
    pixels = np.ascontiguousarray(pixels if pixels.ndim == 3 else pixels[..., None], np.float32)
    return pixels, vessel & fov, fov, median_calibre(vessel)


def masking(kind, style, **changes):
    """Return TopoMask in the middle of a run, at its full ratio."""
    return replace(Masking.at(TopoMaskRecipe(style), kind, 0.5), **changes)


def shown(pixels):
    """Return the channel that shows vessels best."""
    return pixels[..., 1 if pixels.shape[2] == 3 else 0]


def around(region, reach):
    return cv2.dilate(region.astype(np.uint8), np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)) > 0


# Not two-photon: its capillaries lie so near each other that a patch on one reaches the next, and shares say little.
cases = st.tuples(
    st.sampled_from([kind for kind in SAMPLES if kind != "twophoton"]),
    st.integers(0, 2),
    st.sampled_from(STYLES),
    st.floats(0.05, 1.0),
    st.sampled_from([{}, STRETCHES]),
    st.integers(0, 2**32 - 1),
)


@settings(max_examples=15, deadline=None)
@given(cases)
def test_only_what_is_hidden_changes_and_the_label_never(case):
    kind, number, style, ratio, stretches, seed = case
    pixels, vessel, fov, calibre = scene(kind, number)
    before = pixels.copy(), vessel.copy(), fov.copy()
    wanted = masking(kind, style, ratio=ratio, **stretches)
    out, hidden = hide(pixels, vessel, fov, wanted, calibre, np.random.default_rng(seed))
    # What came in is as it was: the label above all.
    assert all(np.array_equal(a, b) for a, b in zip(before, (pixels, vessel, fov), strict=True))
    assert out.dtype == np.float32
    assert out.shape == pixels.shape
    assert np.isfinite(out).all()
    assert out.min() >= 0
    assert out.max() <= 1
    assert np.array_equal(out[~hidden], pixels[~hidden])
    assert not (hidden & ~fov).any()
    again, there = hide(pixels, vessel, fov, wanted, calibre, np.random.default_rng(seed))
    assert np.array_equal(again, out)
    assert np.array_equal(there, hidden)


@settings(max_examples=15, deadline=None)
@given(cases)
def test_the_share_of_branches_asked_for_is_hidden(case):
    kind, number, style, ratio, stretches, seed = case
    _, vessel, fov, calibre = scene(kind, number)
    wanted = masking(kind, style, ratio=ratio, **stretches)
    regions = choose_regions(vessel, fov, wanted, calibre, np.random.default_rng(seed))
    labels, count = label_branches(centreline(vessel))
    assert regions.branches == count
    assert regions.chosen == int(ratio * count)
    covered = np.array([(regions.hidden & (labels == i)).sum() / (labels == i).sum() for i in range(1, count + 1)])
    length = np.bincount(labels[labels > 0], minlength=count + 1)[1:]
    if not stretches and style == "corrected":
        # A hidden branch goes but for what lies inside the wider vessel it comes from. No other branch is broken by it.
        assert (covered > 0.5).sum() <= regions.chosen
        assert (covered[length > 12] > 0.5).sum() >= 0.8 * int(ratio * count) * (length > 12).mean() - 4
        left = covered[(covered <= 0.5) & (length > 12)]
        # There may be none: all others may be short, or be hidden with their parents.
        assert not left.size or (left == 0).mean() > 0.8
    elif not stretches:
        assert (covered > 0.5).sum() >= 0.8 * regions.chosen
    else:
        assert (covered > 0).any() == bool(regions.chosen)


@pytest.mark.parametrize("kind", SAMPLES)
def test_neighbours_of_a_hidden_vessel_stay(kind):
    _, vessel, fov, calibre = scene(kind)
    labels, count = label_branches(centreline(vessel))
    lost = []
    for seed in range(6):
        wanted = masking(kind, "corrected", ratio=3.5 / count)
        regions = choose_regions(vessel, fov, wanted, calibre, np.random.default_rng(seed))
        touched = [np.isin(labels, i) for i in range(1, count + 1) if (regions.hidden & (labels == i)).any()]
        assert 1 <= len(touched) <= 3
        kept = (labels > 0) & ~np.any(touched, axis=0)
        lost.append((regions.hidden & kept).sum())
        assert not (regions.decoys & vessel).any()
        assert not (regions.decoys & regions.hidden).any()
    assert max(lost) == 0


@pytest.mark.parametrize(
    ("fraction", "ratio"),
    [(0, 0), (0.05, 0), (0.1, 0), (0.3, 0.2), (0.5, 0.4), (0.7, 0.2), (0.9, 0), (0.95, 0), (1, 0)],
)
def test_the_ratio_rises_and_falls(fraction, ratio):
    assert TopoMaskRecipe("corrected").ratio_at(fraction) == pytest.approx(ratio, abs=1e-9)
    assert TopoMaskRecipe("corrected", schedule="constant").ratio_at(fraction) == 0.4
    assert TopoMaskRecipe("none").ratio_at(fraction) == 0
    assert Masking.at(TopoMaskRecipe("faithful", ratio=0.8), "octa", fraction).ratio == pytest.approx(
        2 * ratio, abs=1e-9
    )


def contrast_left(pixels, out, regions, vessel, fov):
    """Return what is left of the hidden vessels' contrast to the untouched background nearest by, as a share."""
    untouched = fov & ~regions.vessels & ~around(vessel & ~regions.hidden, 4) & ~regions.hidden & ~regions.decoys
    _, nearest = distance_transform_edt(~untouched, return_indices=True)
    level = shown(pixels)[tuple(nearest)]
    inside = regions.hidden & vessel
    before, after = ((level - shown(picture))[inside].mean() for picture in (pixels, out))
    return after / before


@pytest.mark.parametrize("kind", SAMPLES)
@pytest.mark.parametrize("stretches", [{}, STRETCHES], ids=["branches", "stretches"])
def test_no_contrast_is_left_where_a_vessel_was_taken_out(kind, stretches):
    left = {}
    for style in STYLES:
        found = []
        for seed in range(4):
            pixels, vessel, fov, calibre = scene(kind, seed)
            # Where the published form hides is a part of where the corrected one does.
            regions = choose_regions(
                vessel, fov, masking(kind, "corrected", **stretches), calibre, np.random.default_rng(seed)
            )
            wanted = masking(kind, style, **stretches)
            out, hidden = hide(pixels, vessel, fov, wanted, calibre, np.random.default_rng(seed))
            regions = replace(regions, hidden=regions.hidden & hidden)
            found.append(contrast_left(pixels, out, regions, vessel, fov))
        left[style] = float(np.mean(found))
    assert abs(left["corrected"]) <= 0.15
    # The flaw of the published form: noise goes on top of a vessel that is still there.
    assert left["faithful"] > 0.8


def auc(one, other):
    ranks = rankdata(np.concatenate([one, other]))
    return (ranks[: len(one)].sum() - len(one) * (len(one) + 1) / 2) / (len(one) * len(other))


def clues(out, regions, vessel, fov):
    """Return, for hidden vessels and for decoys, the local spread inside and the edge strength at the rim."""
    plane = shown(out)
    mean = cv2.blur(plane, (5, 5))
    spread = np.sqrt(np.maximum(cv2.blur(plane * plane, (5, 5)) - mean * mean, 0))
    edge = np.hypot(cv2.Sobel(plane, cv2.CV_32F, 1, 0), cv2.Sobel(plane, cv2.CV_32F, 0, 1))
    clear = ~around(vessel & ~regions.hidden, 4) & ~around(~fov, 6)
    found = []
    for region in (regions.hidden, regions.decoys):
        inner = cv2.erode(region.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        found.append((spread[inner & clear], edge[region & ~inner & clear]))
    return found


@pytest.mark.parametrize("kind", SAMPLES)
def test_nothing_but_the_place_tells_a_hidden_vessel_from_a_decoy(kind):
    hidden, decoys = [], []
    for seed in range(5):
        pixels, vessel, fov, calibre = scene(kind, seed)
        wanted = masking(kind, "corrected")
        regions = choose_regions(vessel, fov, wanted, calibre, np.random.default_rng(seed))
        assert regions.decoys.sum() > 0.5 * regions.hidden.sum()
        out, everywhere = hide(pixels, vessel, fov, wanted, calibre, np.random.default_rng(seed))
        assert np.array_equal(everywhere, regions.hidden | regions.decoys)
        one, other = clues(out, regions, vessel, fov)
        hidden.append(one)
        decoys.append(other)
    for clue in range(2):
        told = auc(np.concatenate([h[clue] for h in hidden]), np.concatenate([d[clue] for d in decoys]))
        assert abs(told - 0.5) < 0.12


def test_stretches_have_the_lengths_asked_for():
    vessel = np.zeros((400, 400), bool)
    vessel[198:203, 5:395] = True
    pixels = np.ones((400, 400, 1), np.float32) * 0.5
    lengths = []
    for seed in range(40):
        wanted = Masking("corrected", 1.0, 2.0, 0.0, 0, 3.0, 45.0)
        _, hidden = hide(pixels, vessel, np.ones_like(vessel), wanted, 5.0, np.random.default_rng(seed))
        runs = np.diff(np.flatnonzero(np.diff(np.pad(hidden[200], 1).astype(int))))[::2]
        # One for every two of the longest, over 390 px.
        assert 3 <= len(runs) <= 5
        lengths.extend(runs)
    assert 2 <= min(lengths) <= 5
    assert 35 <= max(lengths) <= 46
    # Uniform in the logarithm: half of them below the root of 3 x 45.
    assert 9 <= np.median(lengths) <= 15


def test_a_margin_leaves_vessel_on_both_sides_of_a_stretch():
    vessel = np.zeros((200, 200), bool)
    # A long branch, and one with room for no stretch between its margins.
    vessel[48:53, 20:180] = True
    vessel[148:153, 90:106] = True
    pixels = np.ones((200, 200, 1), np.float32) * 0.5
    for seed in range(40):
        wanted = Masking("corrected", 1.0, 1.0, 0.0, 0, 10.0, 60.0, margin=15.0)
        _, hidden = hide(pixels, vessel, np.ones_like(vessel), wanted, 5.0, np.random.default_rng(seed))
        assert not hidden[150].any()
        columns = np.flatnonzero(hidden[50])
        # What is destroyed along a stretch reaches a rounded end, at most 5 px, beyond it.
        assert len(columns) >= 9
        assert columns.min() >= 20 + 15 - 5
        assert columns.max() < 180 - 15 + 5


def test_nothing_to_hide_is_no_error():
    pixels = np.full((40, 50, 3), 0.5, np.float32)
    fov = np.ones((40, 50), bool)
    for vessel in (np.zeros_like(fov), np.ones_like(fov)):
        for style in STYLES:
            wanted = Masking(style, 1.0, 2.0, 0.1, 1)
            out, hidden = hide(pixels, vessel, fov, wanted, 3.0, np.random.default_rng(0))
            assert np.array_equal(out[~hidden], pixels[~hidden])


@pytest.fixture(scope="module")
def levels():
    sample = make_sample("fundus", seed=1, shape=(240, 240))
    return build_levels(sample.image, sample.truth.mask > 0, 220)


def recipe(**topomask):
    return Recipe(
        name="a",
        title="a",
        data=(DataRecipe("drive"),),
        crops=CropRecipe(size=128, batch=2),
        topomask=TopoMaskRecipe(**topomask),
    )


def batch(levels, number, **topomask):
    return [t.numpy() for t in CropSource({"drive": [levels]}, {"drive": 1.0}, recipe(**topomask)).batch(number)]


@pytest.mark.parametrize("style", STYLES)
def test_a_batch_with_hidden_vessels_is_the_same_batch(levels, style):
    steps = recipe().schedule.steps
    plain, target = batch(levels, steps // 2)
    assert not target[:, 3].any()
    images, masked = batch(levels, steps // 2, style=style)
    # The same crops with the same label; the image differs where the fourth channel says so.
    assert np.array_equal(target[:, :3], masked[:, :3])
    hidden = masked[:, 3] > 0
    assert hidden.any()
    assert set(np.unique(masked[:, 3])) == {0, 1}
    changed = np.abs(images - plain).mean(axis=1)
    assert changed[hidden].mean() > 3 * changed[~hidden & (masked[:, 2] > 0)].mean()
    again, once_more = batch(levels, steps // 2, style=style)
    assert np.array_equal(images, again)
    assert np.array_equal(masked, once_more)


@pytest.mark.parametrize("style", STYLES)
def test_outside_its_share_of_the_run_it_changes_no_batch(levels, style):
    for number in (0, int(0.95 * recipe().schedule.steps)):
        pairs = zip(batch(levels, number), batch(levels, number, style=style), strict=True)
        assert all(np.array_equal(a, b) for a, b in pairs)
    constant = batch(levels, 0, style=style, schedule="constant")
    assert constant[1][:, 3].any()


def test_switched_off_it_draws_no_random_number(levels):
    rngs = [np.random.default_rng(4) for _ in range(3)]
    settings_ = [None, Masking(), Masking("corrected", 0.4, 2.0, 0.02, 1)]
    crops = [
        random_crop(levels, 96, rng, AugmentationRecipe(), masking=each)
        for rng, each in zip(rngs, settings_, strict=True)
    ]
    assert np.array_equal(crops[0][0], crops[1][0])
    assert len({rng.random() for rng in rngs}) == 1


@pytest.mark.parametrize(
    ("entry", "word"),
    [
        ('style = "published"', "style"),
        ("ratio = 1.5", "topomask.ratio"),
        ("decoys = -1", "topomask.decoys"),
        ("shortest = 9.0\nlongest = 5.0", "topomask.longest"),
        ("margin = -1.0", "topomask.margin"),
    ],
)
def test_settings_that_make_no_sense_are_refused(tmp_path, entry, word):
    path = tmp_path / "a.toml"
    head = 'name = "a"\ntitle = "a"\n[[data]]\nset = "drive"\n[topomask]\n'
    path.write_text(head + 'style = "corrected"\nlongest = 45.0\n')
    assert read_recipe(path).topomask == TopoMaskRecipe("corrected", longest=45.0)
    path.write_text(head + entry)
    with pytest.raises(InputError, match=word):
        read_recipe(path)
