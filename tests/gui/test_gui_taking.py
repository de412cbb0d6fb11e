"""Layers taken into a project: what they are called, and what becomes of their classes."""

import numpy as np
import pytest
from PIL import Image

from napari_vessel.images.image import MaskClass, VesselImage, VesselMask
from napari_vessel.images.masks import mask_from_array

pytestmark = pytest.mark.gui


def test_a_taken_layer_keeps_its_name(workspace, spin):
    ws = workspace
    grey = np.tile(np.linspace(0.2, 0.9, 90, dtype=np.float32), (80, 1))
    for number, name in enumerate(("mouse 3 (left)", "mouse 3 (left)", "MOUSE 3 (left)")):
        layer = ws.viewer.add_image(grey**number, name="other")
        layer.name = name
        ws.add_layer(layer)
        spin()
        ws.viewer.layers.remove(layer)
    assert [record.name for record in ws.images()] == ["mouse_3_left", "mouse_3_left_2", "MOUSE_3_left_3"]


SHAPE = (80, 90)
ARTERY_VEIN = (MaskClass(1, 1, "artery"), MaskClass(2, 2, "vein"))


def two_vessels(first, second):
    values = np.zeros(SHAPE, np.int32)
    values[20:23, 5:80], values[50:53, 5:80] = first, second
    return values


def open_grey(ws, spin, mask=None):
    ws.add_image(
        VesselImage(np.tile(np.linspace(0.2, 0.9, 90, dtype=np.float32), (80, 1)), content_hash="3" * 64), mask
    )
    spin()
    said = []
    ws.message.connect(lambda text, level: said.append((level, text)))
    return said


def take(ws, spin, values):
    ws.add_layer(ws.viewer.add_labels(values, name="mine"))
    spin()


@pytest.mark.parametrize(
    ("values", "expected", "warned"),
    [
        ((2, 0), (2, 0), ""),
        ((2, 1), (2, 1), ""),
        ((5, 9), (1, 1), "(5, 9)"),
        ((2, 9), (2, 1), "(9)"),
        ((0, 0), (0, 0), ""),
    ],
)
def test_classes_of_a_taken_mask_go_by_their_values(workspace, spin, values, expected, warned):
    said = open_grey(workspace, spin, mask_from_array(two_vessels(1, 2)))
    assert workspace.session.classes == ARTERY_VEIN
    take(workspace, spin, two_vessels(*values))
    assert np.array_equal(workspace.session.labels, two_vessels(*expected))
    warnings = [text for level, text in said if level == "warning"]
    assert len(warnings) == (1 if warned else 0)
    assert all(warned in text and "became artery" in text for text in warnings)


def test_classes_of_a_colour_mask_go_by_their_names(workspace, spin):
    classes = (MaskClass(1, (255, 0, 0), "artery"), MaskClass(2, (0, 0, 255), "vein"))
    said = open_grey(workspace, spin, VesselMask(two_vessels(1, 2).astype(np.uint8), classes))
    take(workspace, spin, two_vessels(2, 1))
    assert np.array_equal(workspace.session.labels, two_vessels(2, 1))
    assert not [text for level, text in said if level == "warning"]


def test_the_first_mask_of_an_image_keeps_its_classes_to_the_file(workspace, spin, tmp_path):
    ws = workspace
    said = open_grey(ws, spin)
    take(ws, spin, two_vessels(5, 9))
    assert [c.value for c in ws.session.classes] == [5, 9]
    assert not [text for level, text in said if level in ("warning", "error")]
    assert len(ws.images()) == 1
    assert ws.record.state == "segmented"
    ws.scene.mask_layer.paint((70, 50), 2)
    assert ws.save_mask(tmp_path / "mask.png")
    written = np.asarray(Image.open(tmp_path / "mask.png"))
    assert written[70, 50] == 9
    assert np.array_equal(written[:60], two_vessels(5, 9)[:60])


def test_a_mask_with_classes_for_an_image_that_was_painted_is_one_undoable_step(workspace, spin):
    ws = workspace
    said = open_grey(ws, spin)
    ws.scene.mask_layer.paint((70, 50), 1)
    take(ws, spin, two_vessels(1, 2))
    assert np.array_equal(ws.session.labels, two_vessels(1, 1))
    assert [text for level, text in said if level == "warning"]
    ws.undo()
    assert ws.session.labels[70, 50] == 1
    assert ws.session.labels[20, 20] == 0
