"""Layers taken into a project: what they are called, and what becomes of their classes."""

import numpy as np
import pytest

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
