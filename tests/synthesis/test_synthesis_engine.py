"""The data engine: exact truth, the same for everyone."""

from __future__ import annotations

import numpy as np
import pytest

from napari_vessel.errors import InputError
from napari_vessel.images.image import Modality
from napari_vessel.synthesis.engine import MODALITIES, Background, Likeness, synthesize


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
