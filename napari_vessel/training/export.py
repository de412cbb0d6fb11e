"""From a trained network to a model folder: weights, configuration, and a threshold chosen on validation images."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_vessel.images.image import VesselImage
from napari_vessel.images.writing import replacing, write_json
from napari_vessel.jobs import Job, Progress
from napari_vessel.segmentation.binarise import binarise
from napari_vessel.segmentation.completer import Completer
from napari_vessel.segmentation.preparation import field_diameter
from napari_vessel.segmentation.registry import ModelInfo, read_model
from napari_vessel.segmentation.segmenter import Segmenter
from napari_vessel.topology.calibre import median_calibre
from napari_vessel.topology.metrics import betti_numbers, cl_dice, dice_coefficient
from napari_vessel.topology.skeleton import centreline
from napari_vessel.training.cases import CaseFiles, read_case
from napari_vessel.training.topomask import Masking, hide

log = logging.getLogger(__name__)

THRESHOLDS = tuple(round(0.3 + 0.05 * i, 2) for i in range(9))
MIN_SIZES = (0, 10, 20, 30, 45, 60, 90)
"""Candidates in pixels at the working scale."""

TOLERANCE = 0.002
"""How much of the mean of Dice and clDice a threshold nearer to one half, or fewer wrong components, may cost."""


def write_model(network: nn.Module, folder: Path, config: dict[str, Any]) -> None:
    """Write ``model.safetensors`` and ``config.json``; the configuration gets the weights' SHA-256 and number.

    Weights are written in half precision, which takes half the room; what is chosen for the model afterwards is
    chosen with the weights that were written.

    Parameters
    ----------
    network : nn.Module
        The weights to ship.
    folder : Path
        The model's folder, named as the model is.
    config : dict
        Everything else, see :class:`napari_vessel.segmentation.registry.ModelInfo`.
    """
    from safetensors.torch import save

    folder.mkdir(parents=True, exist_ok=True)
    content = save({name: _half(value.detach().cpu()).contiguous() for name, value in network.state_dict().items()})
    count = sum(p.numel() for p in network.parameters())
    complete = {**config, "parameters": count, "sha256": hashlib.sha256(content).hexdigest()}
    with replacing(folder / "model.safetensors") as temporary:
        temporary.write_bytes(content)
    write_json(folder / "config.json", complete)


def _half(value: Tensor) -> Tensor:
    """Return weights as float16, unless one of them is too large for it."""
    if not value.dtype.is_floating_point or bool((value.abs() > torch.finfo(torch.float16).max).any()):
        return value
    return value.half()


def choose_cut(
    folder: Path,
    files: Sequence[CaseFiles],
    device: str = "auto",
    segmenter: ModelInfo | None = None,
    masking: Masking | None = None,
) -> Job[dict[str, Any]]:
    """Choose threshold and minimum size on validation images at their own resolution.

    What counts is the mean of Dice and clDice. Over a wide range of thresholds it hardly changes, and where exactly
    its peak lies says more about these few images than about the next ones: among the thresholds that cost at most
    `TOLERANCE`, the one nearest to one half is taken, where a probability is cut that needs no correction. The minimum
    size is then the one with the smallest error in the number of components among those that cost at most `TOLERANCE`.
    Every data set counts the same, whatever its number of images.

    A completion model is judged by what it is for: stretches of vessels are taken out of the images, the same at every
    call, and in place of the mean of Dice and clDice over the image stands Dice where something was taken out, decoys
    included.

    Parameters
    ----------
    folder : Path
        A model folder written by :func:`write_model`; its own threshold does not matter.
    files : sequence of CaseFiles
        Validation images.
    device : str
        Where to predict.
    segmenter : ModelInfo, optional
        For a completion model: the model whose probability it completes.
    masking : Masking, optional
        For a completion model: what to take out, with lengths at the working scale.

    Returns
    -------
    Job of dict
        ``threshold``, ``min_size`` (at the working scale), and the figures that decided.
    """
    info = read_model(folder)
    first = Segmenter(segmenter or info, device)
    completer = None if segmenter is None else Completer(info, device, first)
    overlap: dict[str, list[list[tuple[float, ...]]]] = {}
    judged_by = "mean of Dice and clDice" if completer is None else "Dice where vessels were taken out"
    kept = []
    for number, entry in enumerate(files):
        yield Progress(number, len(files), f"Choosing the threshold on {entry.name}")
        case = read_case(entry)
        image = replace(case.image, modality=info.modalities[0])
        inside = case.inside
        truth = case.vessels & inside
        skeleton = centreline(truth)
        factor = float(info.working_scale["px"]) / field_diameter(image.shape, image.fov)
        where = inside
        if completer is not None and masking is not None:
            image, where = _broken(image, truth, inside, masking.scaled(1 / factor), number)
        predicted = yield from (completer or first).predict(image)
        probability = predicted.probability
        usual = round(30 / factor**2)
        row: list[tuple[float, ...]] = []
        for threshold in THRESHOLDS:
            mask = binarise(probability, threshold, usual, image.fov) & inside
            if completer is None:
                row.append((dice_coefficient(mask, truth), cl_dice(mask, truth, skeleton)))
            else:
                row.append((dice_coefficient(mask & where, truth & where),))
            yield Progress(number, len(files), f"Choosing the threshold on {entry.name}")
        overlap.setdefault(entry.data_set, []).append(row)
        # Half precision holds two hundred images as easily as a hundred.
        kept.append((probability.astype(np.float16), truth, skeleton, image.fov, inside, entry.data_set, factor))
        log.info("%s: best %s %.4f", entry.name, judged_by, max(float(np.mean(figures)) for figures in row))
    # (threshold, figure): images count the same within a set, sets among each other.
    figures = np.mean([np.mean(rows, axis=0) for rows in overlap.values()], axis=0)
    means = figures.mean(axis=1)
    near = np.flatnonzero(means >= means.max() - TOLERANCE)
    threshold = min((THRESHOLDS[i] for i in near), key=lambda cut: abs(cut - 0.5))
    score: dict[int, dict[str, list[float]]] = {size: {} for size in MIN_SIZES}
    error: dict[int, dict[str, list[float]]] = {size: {} for size in MIN_SIZES}
    for number, (half, truth, skeleton, fov, inside, name, factor) in enumerate(kept):
        expected = betti_numbers(truth)[0]
        for size in MIN_SIZES:
            yield Progress(number, len(kept), "Choosing the smallest component to keep")
            mask = binarise(half.astype(np.float32), threshold, round(size / factor**2), fov) & inside
            value = (dice_coefficient(mask, truth) + cl_dice(mask, truth, skeleton)) / 2
            score[size].setdefault(name, []).append(value)
            error[size].setdefault(name, []).append(abs(betti_numbers(mask)[0] - expected))
    by_size = {size: float(np.mean([np.mean(v) for v in groups.values()])) for size, groups in score.items()}
    b0_by_size = {size: float(np.mean([np.mean(v) for v in groups.values()])) for size, groups in error.items()}
    allowed = [size for size in MIN_SIZES if by_size[size] >= max(by_size.values()) - TOLERANCE]
    min_size = min(allowed, key=lambda size: b0_by_size[size])
    log.info("threshold %.2f, minimum size %d px at the working scale", threshold, min_size)
    return {
        "threshold": threshold,
        "min_size": min_size,
        ("dice_and_cldice_by_threshold" if completer is None else "dice_taken_out_by_threshold"): {
            str(t): [round(float(value), 4) for value in pair] for t, pair in zip(THRESHOLDS, figures, strict=True)
        },
        "by_min_size": {str(s): round(v, 4) for s, v in by_size.items()},
        "b0_error_by_min_size": {str(s): round(v, 2) for s, v in b0_by_size.items()},
        "images": [entry.name for entry in files],
    }


def _broken(
    image: VesselImage, truth: NDArray[np.bool_], inside: NDArray[np.bool_], masking: Masking, number: int
) -> tuple[VesselImage, NDArray[np.bool_]]:
    """Return an image with vessels taken out, and where; everywhere, if there was none to take out."""
    rng = np.random.default_rng(number)
    pixels, where = hide(np.atleast_3d(image.pixels), truth, inside, masking, median_calibre(truth), rng)
    return replace(image, pixels=pixels.reshape(image.pixels.shape), content_hash=""), where if where.any() else inside


def export_model(
    network: nn.Module,
    folder: Path,
    config: dict[str, Any],
    files: Sequence[CaseFiles],
    device: str = "auto",
    segmenter: ModelInfo | None = None,
    masking: Masking | None = None,
) -> Job[dict[str, Any]]:
    """Write a model folder with the threshold and minimum size chosen on `files`; return how they were chosen.

    Without files, those that the configuration names stay.
    """
    if not files:
        write_model(network, folder, config)
        return {"threshold": config["threshold"], "min_size": config["min_size"], "images": []}
    # Where nobody takes it for the model: it takes minutes, and one that is there already stays as it is meanwhile.
    fresh = folder.parent / ".choosing" / folder.name
    try:
        write_model(network, fresh, {**config, "threshold": 0.5, "min_size": 0})
        chosen = yield from choose_cut(fresh, files, device, segmenter, masking)
    finally:
        shutil.rmtree(fresh.parent, ignore_errors=True)
    final = {**config, "threshold": chosen["threshold"], "min_size": chosen["min_size"]}
    write_model(network, folder, final)
    log.info("%s", json.dumps(chosen))
    return chosen
