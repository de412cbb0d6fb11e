"""Tiles: seams that cannot be seen, running out of memory, cancelling."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from napari_vessel.errors import Cancelled, DeviceError
from napari_vessel.jobs import CancelToken, run_job
from napari_vessel.networks import build_network
from napari_vessel.segmentation.tiles import plan_tiles, predict_tiled


def blurred_sum(stack):
    """Stand in for a network: a local operation that a seam would show."""
    import cv2

    return np.stack([cv2.blur(one.sum(axis=0), (9, 9)) for one in stack]).astype(np.float32)


@pytest.fixture
def image():
    return np.random.default_rng(0).random((3, 300, 500), np.float32)


@pytest.mark.parametrize("shape", [(64, 64), (640, 640), (656, 304), (2336, 3504), (16, 4000)])
def test_tiles_cover_the_image_overlap_enough_and_start_on_the_stride(shape):
    shape = tuple(-(-side // 16) * 16 for side in shape)
    tiling = plan_tiles(shape, largest=320, overlap=128, stride=16)
    for length, tile, starts in zip(shape, tiling.tile, (tiling.rows, tiling.columns), strict=True):
        assert starts[0] == 0
        assert starts[-1] + tile == length
        assert tile <= 320
        assert all(start % 16 == 0 for start in starts)
        assert all(a + tile - b >= 128 for a, b in pairwise(starts))


@pytest.mark.parametrize(("stride", "largest", "length"), [(224, 672, 2240), (224, 896, 3136), (160, 800, 4160)])
def test_tiles_on_a_coarse_stride_overlap_too(stride, largest, length):
    tiling = plan_tiles((length, stride), largest, overlap=128, stride=stride)
    assert tiling.rows[-1] + tiling.tile[0] == length
    assert all(a + tiling.tile[0] - b >= 128 for a, b in pairwise(tiling.rows))


def test_a_small_image_is_one_tile():
    assert plan_tiles((96, 112), 320, 128, 16).corners == [(0, 0)]


def test_tiled_equals_whole_for_a_local_operation(image):
    tiled = run_job(predict_tiled(image, blurred_sum, stride=16, overlap=64, largest=160, batch=3))
    np.testing.assert_allclose(tiled[8:-8, 8:-8], blurred_sum(image[None])[0][8:-8, 8:-8], rtol=1e-4)


def test_tiled_and_whole_agree_for_a_network_with_fixed_weights(image):
    torch.manual_seed(0)
    network = build_network("unet", in_channels=3, channels=(16, 16, 32, 32, 32)).train()
    with torch.no_grad():
        # Statistics as after training, so that activations have the size they have in use.
        for _ in range(20):
            network(torch.rand(2, 3, 128, 128))
        # Logits from about -4 to 4, where a probability is most easily moved.
        network.head.weight *= 15
        network.head.bias.zero_()
    network.eval()

    def forward(stack):
        with torch.inference_mode():
            return network(torch.from_numpy(stack))[:, 0].sigmoid().numpy()

    settings = {"stride": network.stride, "overlap": 128, "batch": 2}
    whole = run_job(predict_tiled(image, forward, largest=1024, **settings))
    tiled = run_job(predict_tiled(image, forward, largest=256, **settings))
    assert whole.std() > 0.05
    assert np.mean(np.abs(whole - tiled) <= 0.01) >= 0.999


def test_halves_the_batch_when_memory_runs_out_and_goes_on(image):
    asked = []

    def hungry(stack):
        asked.append(len(stack))
        if len(stack) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return blurred_sum(stack)

    settings = {"stride": 16, "overlap": 64, "largest": 160}
    result = run_job(predict_tiled(image, hungry, batch=8, **settings))
    expected = run_job(predict_tiled(image, blurred_sum, batch=1, **settings))
    assert asked[:3] == [8, 4, 2]
    assert max(asked[2:]) == 2
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize(
    "error",
    [RuntimeError("MPS backend out of memory"), RuntimeError("DefaultCPUAllocator: not enough memory"), MemoryError()],
)
def test_takes_smaller_tiles_when_one_does_not_fit(image, error):
    sizes = []

    def hungry(stack):
        sizes.append(stack.shape[-1])
        if stack.shape[-1] > 272:
            raise error
        return blurred_sum(stack)

    result = run_job(predict_tiled(image, hungry, stride=16, overlap=64, largest=512, batch=1))
    assert result.shape == image.shape[1:]
    assert sizes[0] > 272 >= sizes[-1]


@pytest.mark.parametrize("stride", [16, 224])
def test_says_what_to_do_when_nothing_fits(image, stride):
    asked = []

    def hungry(stack):
        asked.append(stack.shape)
        assert len(asked) < 9, "it goes on for ever"
        raise torch.OutOfMemoryError("CUDA out of memory.")

    with pytest.raises(DeviceError, match="use the device cpu"):
        run_job(predict_tiled(image, hungry, stride=stride, overlap=64, largest=512, batch=4))


def test_other_errors_are_not_taken_for_a_lack_of_memory(image):
    def broken(stack):
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes do not match"):
        run_job(predict_tiled(image, broken, stride=16, overlap=64, largest=160, batch=4))


def test_cancelling_stops_within_one_batch(image):
    calls = []
    token = CancelToken()

    def counting(stack):
        calls.append(len(stack))
        if len(calls) == 2:
            token.cancel()
        return blurred_sum(stack)

    with pytest.raises(Cancelled):
        run_job(predict_tiled(image, counting, stride=16, overlap=64, largest=160, batch=1), cancel=token)
    assert calls == [1, 1]


def test_progress_counts_tiles(image):
    seen = []
    run_job(predict_tiled(image, blurred_sum, stride=16, overlap=64, largest=160, batch=2), seen.append)
    assert seen[0].done == 0
    assert seen[-1].fraction == 1.0
    assert len(seen) > 3


def test_tiles_outside_the_field_of_view_are_skipped(image):
    skip = np.zeros(image.shape[1:], bool)
    skip[:, 250:] = True
    tiles = []

    def counting(stack):
        tiles.append(len(stack))
        return blurred_sum(stack)

    settings = {"stride": 16, "overlap": 64, "largest": 160, "batch": 1}
    run_job(predict_tiled(image, counting, **settings))
    everything = len(tiles)
    tiles.clear()
    result = run_job(predict_tiled(image, counting, skip=skip, **settings))
    assert len(tiles) < everything
    assert not result[:, -90:].any()
