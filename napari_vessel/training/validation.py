"""How good a network is while it trains: whole validation images at the working scale."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_vessel.jobs import Job, Progress
from napari_vessel.segmentation.preparation import field_diameter, normalise, plan_resampling, resample, resample_fov
from napari_vessel.topology.calibre import median_calibre
from napari_vessel.topology.metrics import betti_numbers, cl_dice, dice_coefficient
from napari_vessel.topology.skeleton import centreline
from napari_vessel.training.augmentation import as_channels, draw_target, draw_weights
from napari_vessel.training.cases import Case
from napari_vessel.training.edges import GivenEdges
from napari_vessel.training.recipe import Recipe
from napari_vessel.training.topomask import Masking, hide

THRESHOLDS = (0.35, 0.5, 0.65)
"""Each network is judged at the best of these: where to cut is chosen afterwards, and finely."""


@dataclass(frozen=True, eq=False, slots=True)
class ValidationImage:
    """One validation image at the working scale.

    Attributes
    ----------
    data_set : str
        The set it belongs to; every set counts the same.
    pixels : ndarray of float32, shape (C, Y, X)
        The network's input.
    truth, skeleton, inside : ndarray of bool, shape (Y, X)
        Vessels, their centreline, and where they are judged: the field of view, but for what does not count.
    edges : GivenEdges or None
        Where the edges are a model's, of an image with weights: they say nothing about another model's.
    """

    data_set: str
    pixels: NDArray[np.float32]
    truth: NDArray[np.bool_]
    skeleton: NDArray[np.bool_]
    inside: NDArray[np.bool_]
    edges: GivenEdges | None = None


@dataclass(frozen=True, slots=True)
class ValidationScore:
    """Means over the sets, at the threshold that suits most.

    Attributes
    ----------
    dice, cl_dice : float
        At the working scale.
    b0_error : float
        Components too many or too few (8-connected), at the working scale; it decides nothing here.
    by_set : dict of str to float
        Mean of the two, per set.
    """

    dice: float
    cl_dice: float
    b0_error: float
    by_set: dict[str, float] = field(default_factory=dict)

    @property
    def value(self) -> float:
        """The mean of the two, which decides."""
        return (self.dice + self.cl_dice) / 2


def prepare_validation(case: Case, recipe: Recipe, break_seed: int | None = None) -> ValidationImage:
    """Bring a validation image to the working scale, as training does: also one that prediction would leave as it is.

    Parameters
    ----------
    case : Case
        Image and vessels.
    recipe : Recipe
        Working scale, channels, and what to hide.
    break_seed : int, optional
        Hide vessels as in training, at its height; the seed says which, so that they are the same at every look. By
        default the image stays whole.
    """
    colour = recipe.network.in_channels == 3
    image = case.image
    plan = plan_resampling(image.shape, field_diameter(image.shape, image.fov), recipe.network.working_diameter)
    inside = resample_fov(image.fov, plan.working_shape)
    target = draw_target(case.vessels, image.fov, plan.working_shape)
    everywhere = np.ones(plan.working_shape, np.bool_) if inside is None else inside
    weights = None
    if case.weights is not None:
        counts, heavy = np.moveaxis(draw_weights(case.weights, plan.working_shape), -1, 0)
        everywhere = everywhere & (counts > 0)
        weights = heavy * everywhere
    truth = (target[..., 0] >= 0.5) & everywhere
    pixels = resample(as_channels(image, colour), plan.working_shape)
    if break_seed is not None:
        pixels = np.atleast_3d(pixels)
        masking = Masking.at(recipe.topomask, recipe.modality, 0.5)
        pixels, _ = hide(pixels, truth, everywhere, masking, median_calibre(truth), np.random.default_rng(break_seed))
    prepared = normalise(pixels, inside)
    return ValidationImage(
        case.data_set,
        np.ascontiguousarray(prepared.transpose(2, 0, 1)),
        truth,
        centreline(truth),
        everywhere,
        None if weights is None else GivenEdges.of(truth, weights),
    )


def validate(predict: Callable[[Tensor], Tensor], images: Sequence[ValidationImage]) -> Job[ValidationScore]:
    """Score a network on whole images.

    Parameters
    ----------
    predict : callable
        From images (1, C, Y, X) to probabilities (1, 1, Y, X).
    images : sequence of ValidationImage
        At least one.
    """
    figures: dict[str, list[list[tuple[float, float, float]]]] = {}
    for number, image in enumerate(images):
        yield Progress(number, len(images), f"Validating on {image.data_set}")
        probability = predict(torch.from_numpy(image.pixels[None]))[0, 0].cpu().numpy()
        figures.setdefault(image.data_set, []).append(list(_score(probability, image)))
    # (set, threshold, figure): images count the same within a set, sets among each other.
    means = np.array([np.mean(rows, axis=0) for rows in figures.values()])
    values = means[..., :2]
    best = int(np.argmax(values.mean(axis=(0, 2))))
    dice, cl, b0_error = means[:, best].mean(axis=0)
    by_set = dict(zip(figures, values[:, best].mean(axis=1).tolist(), strict=True))
    return ValidationScore(float(dice), float(cl), float(b0_error), by_set)


def _score(probability: NDArray[np.float32], image: ValidationImage) -> Iterator[tuple[float, float, float]]:
    components = betti_numbers(image.truth)[0]
    for threshold in THRESHOLDS:
        mask = (probability >= threshold) & image.inside
        settled = mask if image.edges is None else image.edges.settle(mask)
        dice, cl = dice_coefficient(settled, image.truth), cl_dice(settled, image.truth, image.skeleton)
        yield dice, cl, float(abs(betti_numbers(mask)[0] - components))
