"""The card of pre-trained weights: from how many images, how, and how to use them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from napari_vessel.training.pretraining.images import UnlabelledImages
from napari_vessel.training.pretraining.settings import PreTrain

_SHOWN = 20


def write_card(settings: PreTrain, images: UnlabelledImages, told: Mapping[str, Any]) -> str:
    """Return the card, Markdown.

    Parameters
    ----------
    settings : PreTrain
        What was asked for.
    images : UnlabelledImages
        What was learnt from.
    told : mapping
        ``steps_done``, ``seconds``, the last ``figures``, and the light ``segmenter``'s where there is one.
    """
    network, names = settings.network, list(images.hashes)
    masking = "with a share on vessels that grows from 0 to a half" if settings.guided else "at random"
    terms = "pixels and anatomical consistency" if settings.consistency else "pixels alone"
    figures = ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in told["figures"].items())
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    blocks = f", `blocks = {network.blocks}`" if network.blocks else ""
    size = f"{settings.batch} crops of {images.size} px"
    return f"""# Pre-trained weights for `{network.name}`

Masked image modelling on {len(names)} {settings.modality.value} images without labels (VasoMIM; Huang et al., 2025).

- Network: `channels = {list(network.channels)}`, `in_channels = {network.in_channels}`, \
`working_diameter = {network.working_diameter:g}`{blocks}
- Half of each crop was hidden, {masking}; learnt from: {terms}
- {told["steps_done"]} steps of {size}, seed {settings.seed}; at the end {figures}
- Images: {", ".join(names[:_SHOWN])}{more}; with their SHA-256 in `config.json`

They segment nothing by themselves: a recipe begins with them by `encoder = "FOLDER"`, this folder below the one given
with `--data`, and the same `[network]`.
"""
