"""Pixels that weigh more, and pixels that do not count; frozen statistics; steps that are taken with less memory."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_vessel.errors import DeviceError
from napari_vessel.synthesis.samples import make_sample
from napari_vessel.training.augmentation import MOST_WEIGHT, TARGETS, build_levels, draw_weights
from napari_vessel.training.crops import CropSource
from napari_vessel.training.losses import TERMS, Sample, total_loss
from napari_vessel.training.recipe import CropRecipe, DataRecipe, NetworkRecipe, Recipe, ScheduleRecipe
from napari_vessel.training.terms import DEFAULT_LOSS, FORMER, LossTerm
from napari_vessel.training.topomask import TopoMaskRecipe
from napari_vessel.training.trainer import Trainer

SHAPE = (160, 160)


def tiny(**schedule):
    return Recipe(
        "tiny",
        "Tiny",
        (DataRecipe("own", folder="one"),),
        modality="octa",
        network=NetworkRecipe(channels=(8, 8, 8), in_channels=1, working_diameter=160.0),
        schedule=ScheduleRecipe(steps=20, **schedule),
        crops=CropRecipe(size=64, batch=4, even=True),
    )


def levels(weights=None, seed=0):
    sample = make_sample("octa", seed=seed, shape=SHAPE)
    return build_levels(sample.image, sample.truth.mask, 160.0, False, weights=weights)


def batch(recipe, weights=None, number=3):
    return CropSource({"a": [levels(weights)], "b": [levels(seed=1)]}, {"a": 1.0, "b": 1.0}, recipe).batch(number)


@pytest.mark.parametrize("style", ["none", "corrected"])
def test_weights_of_one_change_nothing(style, tmp_path):
    recipe = replace(tiny(), topomask=TopoMaskRecipe(style))
    plain, equal = batch(recipe, number=9), batch(recipe, np.ones(SHAPE, np.uint8), number=9)
    assert (plain[1].shape[1], equal[1].shape[1]) == (4, 5)
    torch.testing.assert_close(equal[0], plain[0], rtol=0, atol=0)
    torch.testing.assert_close(equal[1][:, :4], plain[1], rtol=0, atol=0)
    assert bool((equal[1][:, 4] == 1).all())
    states, results = [], []
    for images, target in (plain, equal):
        trainer = Trainer(recipe, tmp_path)
        results.append(trainer.train_step(images, target))
        states.append(trainer.network.state_dict())
    assert results[0] == results[1]
    for name, value in states[0].items():
        torch.testing.assert_close(states[1][name], value, rtol=0, atol=0)


def test_what_does_not_count_is_outside_for_the_target_alone():
    recipe = tiny()
    none = np.ones(SHAPE, np.uint8)
    none[:, 80:] = 0
    plain, some = batch(recipe), batch(recipe, none)
    # The other places a crop is put at are its own affair: what is compared is the source without weights.
    torch.testing.assert_close(some[0][2:], plain[0][2:], rtol=0, atol=0)
    for number in range(6):
        images, target = batch(recipe, none, number)
        ignored = (target[:2, 2] == 0).float().mean()
        assert 0 <= float(ignored) < 1
        # Normalised over the field of view, not over what counts.
        assert bool((images[:2, 0].std(dim=(1, 2)) > 0.1).all())


@pytest.mark.parametrize("name", sorted(TERMS))
def test_what_does_not_count_has_no_gradient(name):
    rng = np.random.default_rng(0)
    target = torch.zeros(2, len(TARGETS), 48, 48)
    target[:, 0, 20:24], target[:, 1, 21:24], target[:, 2], target[:, 4] = 1, 1, 1, 3
    target[:, 2, :, 24:] = 0
    target[:, 3, 18:26, 10:20], target[:, 5] = 1, 1
    logits = torch.from_numpy(rng.normal(0, 2, (2, 1, 48, 48)).astype(np.float32)).requires_grad_()
    former = torch.full((2, 1, 48, 48), 0.3)
    TERMS[name](Sample.of(logits, target, former), LossTerm(name)).backward()
    assert bool((logits.grad[..., 24:] == 0).all())
    assert bool((logits.grad[..., :24] != 0).any())


def test_a_heavier_pixel_pulls_harder():
    target = torch.zeros(1, 5, 32, 32)
    target[:, 2], target[:, 4] = 1, 1
    target[:, 4, 10:12] = 5
    logits = torch.zeros(1, 1, 32, 32, requires_grad=True)
    total_loss(logits, target, (LossTerm("cross-entropy"),), 0.5)[0].backward()
    pulls = logits.grad[0, 0]
    assert float(pulls[10, 5] / pulls[20, 5]) == pytest.approx(5)
    assert float(pulls[10, 5]) > 0


def test_a_thin_correction_survives_a_small_scale():
    weights = np.ones((400, 400), np.uint8)
    weights[200, 50:350] = 5
    weights[:, :40] = 0
    drawn = draw_weights(weights, (100, 100))
    assert set(np.unique(drawn[..., 1])) == {1.0, 5.0}
    assert (drawn[..., 1] == 5).any(axis=0)[15:85].all()
    assert not drawn[:, :10, 0].any()
    assert drawn[:, 11:, 0].all()


def test_a_thin_decision_in_a_large_image_is_seen_by_every_crop_on_it():
    # Twelve of thirteen pixels of a photograph go into one: what counts around a refused gap 2 px wide is 10 px wide.
    image = make_sample("octa", seed=0, shape=SHAPE).image
    large = replace(image, pixels=np.repeat(np.repeat(image.pixels, 12, 0), 12, 1), fov=None)
    weights = np.zeros(large.shape, np.uint8)
    weights[1000:1010, 900:960], weights[1004:1006, 904:956] = 1, 5
    one = build_levels(large, np.zeros(large.shape, np.bool_), 260.0, False, weights=weights)
    recipe = tiny()
    source = CropSource({"a": [one]}, {"a": 1.0}, replace(recipe, crops=replace(recipe.crops, correction_share=1.0)))
    for number in range(5):
        targets = source.batch(number)[1]
        assert bool(((targets[:, 2] > 0) & (targets[:, 4] > 1)).any(dim=2).any(dim=1).all())


def test_without_a_correction_crops_lie_on_vessels_as_often_as_ever():
    vessels = np.zeros(SHAPE, np.bool_)
    vessels[20:24, 20:50] = True
    one = build_levels(
        make_sample("octa", seed=0, shape=SHAPE).image, vessels, 160.0, False, weights=np.ones(SHAPE, np.uint8)
    )
    recipe = replace(tiny(), crops=CropRecipe(size=64, batch=4, vessel_share=1.0, correction_share=1.0))
    source = CropSource({"a": [one]}, {"a": 1.0}, recipe)
    for number in range(5):
        assert bool((source.batch(number)[1][:, 0] > 0).any(dim=2).any(dim=1).all())


def test_crops_lie_on_corrections_when_they_are_to():
    weights = np.ones(SHAPE, np.uint8)
    weights[100:103, 40:60] = 3
    recipe = tiny()
    hits = []
    for share in (0.0, 1.0):
        own = replace(recipe, crops=replace(recipe.crops, correction_share=share))
        source = CropSource({"a": [levels(weights)]}, {"a": 1.0}, own)
        hits.append(np.mean([float((source.batch(n)[1][:, 4] > 1).any(dim=2).any(dim=1).float().mean())
                             for n in range(6)]))  # fmt: skip
    assert hits[1] == 1
    assert hits[0] < 0.9


def test_of_an_image_of_which_little_counts_every_crop_shows_some_of_it():
    weights = np.zeros(SHAPE, np.uint8)
    weights[20:26, 20:60], weights[22:24, 25:55] = 1, 3
    source = CropSource({"a": [levels(weights)]}, {"a": 1.0}, tiny())
    for number in range(5):
        assert bool((source.batch(number)[1][:, 2].sum(dim=(1, 2)) > 0).all())


def test_what_is_watched_is_held_to_what_the_network_answered_before_the_run(tmp_path):
    loss = (LossTerm("cross-entropy"), LossTerm(FORMER, weight=20.0))
    data = (DataRecipe("own", folder="new"), DataRecipe("own", folder="known", watched=True))
    recipe = replace(tiny(learning_rate=1e-2, freeze_statistics=True), data=data, start="octa-small", loss=loss)
    images = {"own/new": [levels(np.ones(SHAPE, np.uint8))], "own/known": [levels(seed=1)]}
    source = CropSource(images, dict.fromkeys(images, 1.0), recipe)
    drift = {}
    for held in (True, False):
        chosen = recipe if held else replace(recipe, loss=loss[:1])
        trainer = Trainer(chosen, tmp_path)
        trainer.begin_with(trainer.network.state_dict())
        crops, target = source.batch(0)
        known = target[:, 5].flatten(1).all(dim=1)
        assert known.tolist() == [False, False, True, True]
        before = trainer.network.eval()(crops).sigmoid()
        for _ in range(6):
            trainer.train_step(crops, target if held else target[:, :5])
        after = trainer.network.eval()(crops).sigmoid()
        drift[held] = (after - before).abs().mean(dim=(1, 2, 3))[known].mean()
    assert drift[True] < 0.5 * drift[False]


def test_a_share_of_the_former_weights_stays_in_the_averaged_ones(tmp_path):
    recipe = replace(tiny(learning_rate=1e-2), start="octa-small")
    crops, target = batch(recipe)
    found = {}
    for share in (0.0, 0.25):
        trainer = Trainer(replace(recipe, schedule=replace(recipe.schedule, former_share=share)), tmp_path)
        begun = {name: value.clone() for name, value in trainer.network.state_dict().items()}
        trainer.begin_with(begun)
        for _ in range(3):
            trainer.train_step(crops, target)
        found[share] = trainer.average.state_dict()
    for name, value in found[0.0].items():
        if value.dtype.is_floating_point:
            torch.testing.assert_close(found[0.25][name], value.lerp(begun[name], 0.25), rtol=1e-4, atol=1e-6)
    assert any(not torch.equal(found[0.0][name], begun[name]) for name in begun)


@pytest.mark.parametrize("frozen", [True, False])
def test_frozen_statistics_stay(frozen, tmp_path):
    recipe = tiny(freeze_statistics=frozen)
    trainer = Trainer(recipe, tmp_path)
    before = {name: value.clone() for name, value in trainer.network.state_dict().items()}
    for number in range(3):
        trainer.train_step(*batch(recipe, number=number))
    for network in (trainer.network, trainer.average):
        for name, value in network.state_dict().items():
            same = torch.equal(value, before[name])
            assert same == (frozen and ("running" in name or "batches" in name)), name


class Narrow(torch.nn.Module):
    """A device with room for so many pixels at once: beyond, it raises what torch raises."""

    def __init__(self, network, room, error):
        super().__init__()
        self.network, self.room, self.error = network, room, error
        self.seen = []

    def forward(self, images):
        if images.numel() > self.room:
            raise self.error
        self.seen.append(tuple(images.shape))
        return self.network(images)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("not enough memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
)
def test_memory_that_runs_out_makes_parts_and_then_smaller_crops(error, tmp_path, caplog):
    recipe = replace(tiny(freeze_statistics=True, step_down=True), loss=DEFAULT_LOSS[:1])
    images, target = batch(recipe)
    whole, halves = Trainer(recipe, tmp_path), Trainer(recipe, tmp_path)
    loss = whole.train_step(images, target)[0]
    narrow = Narrow(halves.network, 2 * 64 * 64, error)
    halves.network = narrow
    assert halves.train_step(images, target)[0] == pytest.approx(loss, rel=0.02)
    assert narrow.seen == [(2, 1, 64, 64)] * 2
    assert halves.smaller == "in 2 parts for lack of memory"
    assert "memory is short; going on in 2 parts" in caplog.text
    # The whole batch still decides the step: its parts' gradients are added up.
    for name, value in whole.network.state_dict().items():
        torch.testing.assert_close(narrow.network.state_dict()[name], value, rtol=0.05, atol=1e-4)
    recipe = replace(recipe, crops=replace(recipe.crops, size=128))
    images, target = batch(recipe)
    least = Trainer(recipe, tmp_path)
    least.network = Narrow(least.network, 64 * 64, error)
    least.train_step(images, target)
    assert least.smaller == "in 4 parts on crops of 64 px for lack of memory"
    least.network.room = 1
    with pytest.raises(DeviceError, match="too little memory"):
        least.train_step(images, target)
    assert least.step == 1


@pytest.mark.parametrize("room", [2, 1])
def test_what_is_held_to_is_held_to_as_much_in_parts(room, tmp_path):
    """The first two crops are new, the last two rehearsed: parts in which nothing is held to dilute the others not."""
    data = (DataRecipe("own", folder="new"), DataRecipe("own", folder="known", watched=True))
    schedule = ScheduleRecipe(steps=20, step_down=True, freeze_statistics=True)
    recipe = replace(tiny(), schedule=schedule, data=data, start="octa-small", loss=(LossTerm(FORMER),))
    images = {"own/new": [levels()], "own/known": [levels(seed=1)]}
    crops, target = CropSource(images, dict.fromkeys(images, 1.0), recipe).batch(0)
    losses = []
    for narrow in (False, True):
        trainer = Trainer(recipe, tmp_path)
        trainer.begin_with(trainer.network.state_dict())
        with torch.no_grad():
            trainer.network.head.bias.add_(1.0)
        if narrow:
            trainer.network = Narrow(trainer.network, room * 64 * 64, torch.OutOfMemoryError("CUDA out of memory."))
        losses.append(trainer.train_step(crops, target)[0])
    assert losses[0] > 0.01
    assert losses[1] == pytest.approx(losses[0], rel=0.02)


def test_memory_that_runs_out_ends_any_other_run(tmp_path):
    recipe = tiny()
    trainer = Trainer(recipe, tmp_path)
    trainer.network = Narrow(trainer.network, 1, torch.OutOfMemoryError("CUDA out of memory."))
    trainer.average = trainer.network
    with pytest.raises(torch.OutOfMemoryError):
        trainer.train_step(*batch(recipe))
    with pytest.raises(torch.OutOfMemoryError):
        trainer.look(torch.zeros(1, 1, 64, 64))


def test_memory_that_runs_out_in_a_look_makes_tiles(tmp_path, caplog):
    trainer = Trainer(tiny(step_down=True), tmp_path)
    image = torch.from_numpy(np.random.default_rng(0).random((1, 1, 700, 601), np.float32))
    whole = trainer.look(image)
    assert not trainer.smaller
    network = trainer.average
    trainer.average = Narrow(network, 320 * 320, torch.OutOfMemoryError("CUDA out of memory."))
    trainer.average.stride = network.stride
    tiled = trainer.look(image)
    assert tiled.shape == whole.shape
    # The tiles' seams lie in what both of two neighbours have seen the surroundings of.
    torch.testing.assert_close(tiled[..., :592], whole[..., :592], rtol=0, atol=1e-4)
    assert trainer.smaller == "with looks in tiles for lack of memory"
    assert "memory is short; going on with looks in tiles" in caplog.text
    assert max(shape[-1] * shape[-2] for shape in trainer.average.seen) <= 320 * 320
    trainer.average.room = 1
    with pytest.raises(DeviceError, match="one small tile"):
        trainer.look(image)


def test_a_crop_of_which_little_counts_says_more_but_not_as_much_as_a_whole_one():
    """The mean over a batch's pixels is that of the crops that count whole; a few pixels are lifted, and no further."""
    weights = np.zeros(SHAPE, np.uint8)
    weights[22:28, 40:52], weights[24:26, 42:50] = 1, 5
    recipe = replace(tiny(), crops=CropRecipe(size=64, batch=2, even=True))
    source = CropSource(
        {"a": [levels(weights)], "b": [levels(np.ones(SHAPE, np.uint8), 1)]}, {"a": 1.0, "b": 1.0}, recipe
    )
    for number in range(6):
        targets = source.batch(number)[1]
        few, whole = targets[:, 4] * targets[:, 2]
        assert bool((whole[whole > 0] == 1).all())
        assert (float(few[few > 0].min()), float(few.max())) == (MOST_WEIGHT, 5 * MOST_WEIGHT)
        logits = torch.zeros(2, 1, 64, 64, requires_grad=True)
        total_loss(logits, targets, (LossTerm("cross-entropy"),), 0.5)[0].backward()
        pulls = logits.grad.abs().sum(dim=(1, 2, 3))
        assert 0 < float(pulls[0]) < float(pulls[1])
        one = float(logits.grad[0, 0].abs().max() / logits.grad[1, 0].abs().max())
        assert one == pytest.approx(5 * MOST_WEIGHT)


def test_of_half_an_image_little_is_lifted():
    weights = np.ones(SHAPE, np.uint8)
    weights[:, :80] = 0
    source = CropSource({"a": [levels(weights)]}, {"a": 1.0}, tiny())
    lifted = []
    for number in range(6):
        for target in source.batch(number)[1]:
            told = float((target[2] * target[4]).sum())
            lifted.append(float(target[4].max()))
            # Never to more than all of the crop, and never by more than the bound.
            assert told <= 64 * 64 + 1
            assert 1 <= lifted[-1] <= MOST_WEIGHT
    assert 1 < np.median(lifted) < MOST_WEIGHT
