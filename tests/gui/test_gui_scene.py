"""The layers of one image are given the next one's data: what belongs to the image changes, the rest stays."""

from dataclasses import replace

import numpy as np
import pytest
from napari.layers import Labels

from napari_vessel.gui.view_panel import ViewPanel
from napari_vessel.images.image import Modality, VesselImage, VesselMask
from napari_vessel.images.masks import mask_from_array
from napari_vessel.review.edits import Verdict

pytestmark = pytest.mark.gui


def other_sample(channels: int = 3) -> tuple[VesselImage, VesselMask]:
    """A smaller image than `drawn_sample`, with arteries and veins."""
    pixels = np.full((60, 70, 3), 0.6, np.float32)
    values = np.zeros((60, 70), np.int32)
    for row, value in ((15, 1), (40, 2)):
        pixels[row - 1 : row + 2, 5:65] = 0.2
        values[row - 1 : row + 2, 5:30] = values[row - 1 : row + 2, 38:65] = value
    pixels = pixels if channels == 3 else pixels[..., 0].copy()
    return VesselImage(pixels, modality=Modality.FUNDUS, content_hash=str(channels) * 64), mask_from_array(values)


def go_on(ws, spin, channels=3, transform=None):
    """Add another image and open it; return the record of the one before."""
    before = ws.record
    ws.add_image(*other_sample(channels), transform=transform)
    spin()
    assert ws.record.id != before.id
    return before


def assert_shown(ws):
    """The layers have what the session has, and lie where the image lies."""
    scene, session = ws.scene, ws.session
    assert np.array_equal(scene.mask_layer.data, session.labels)
    assert scene.image_layer.data.shape[:2] == session.shape
    assert scene.image_layer.name == ws.record.name
    for layer in ws.viewer.layers:
        if scene.owns(layer):
            assert np.allclose(layer.affine.affine_matrix, scene.camera.transform), layer.name
            if isinstance(layer, Labels):
                assert layer.data.shape == session.shape, layer.name
    assert np.count_nonzero(scene.overlay.layer.data == 1)
    assert ws.viewer.layers.selection.active is scene.mask_layer


def test_the_next_image_comes_into_the_same_layers(review, spin):
    ws = review
    layers, made = list(ws.viewer.layers), []
    ws.viewer.layers.events.inserted.connect(lambda event: made.append(event.value.name))
    moved = np.array([[0.0, 2.0, 5.0], [-2.0, 0.0, 9.0], [0.0, 0.0, 1.0]])
    first = go_on(ws, spin, transform=moved)
    assert list(ws.viewer.layers) == layers
    assert_shown(ws)
    assert np.allclose(ws.scene.mask_layer.data_to_world((4, 6)), ws.scene.camera.to_world((4, 6)))
    ws.open_image(first.id)
    spin()
    assert list(ws.viewer.layers) == layers
    assert made == []
    assert_shown(ws)
    assert ws.scene.fragments.layer.data.any()
    assert np.allclose(ws.viewer.layers.extent.world[1], (109, 119)), "nothing of the other image is left to span"


def test_a_grey_image_takes_the_place_of_a_colour_image(review, spin):
    ws = review
    ws.viewer.layers.move(0, 3)
    names = [layer.name for layer in ws.viewer.layers]
    ws.scene.image_layer.visible = False
    first = go_on(ws, spin, channels=1)
    expected = [ws.record.name if name == first.name else name for name in names]
    assert [layer.name for layer in ws.viewer.layers] == expected
    assert not ws.scene.image_layer.rgb
    assert not ws.scene.image_layer.visible
    assert_shown(ws)
    ws.scene.image_layer.contrast_limits = (0.2, 0.4)
    image, mask = other_sample(1)
    ws.add_image(replace(image, content_hash="4" * 64), mask)
    spin()
    assert tuple(ws.scene.image_layer.contrast_limits) == (0.2, 0.4)
    ws.open_image(first.id)
    spin()
    assert ws.scene.image_layer.rgb
    assert_shown(ws)


def test_what_was_tuned_or_hidden_stays_so(review, spin):
    ws, scene = review, review.scene
    layers = ws.viewer.layers
    mine = ws.viewer.add_points(np.zeros((1, 2)), name="mine")
    layers.move(layers.index(mine), 0)
    scene.image_layer.gamma, scene.image_layer.opacity = 0.5, 0.8
    scene.mask_layer.opacity, scene.mask_layer.brush_size, scene.mask_layer.contour = 0.3, 4, 2
    scene.overlay.layer.opacity = 0.6
    scene.proposals_visible = False
    order = list(layers)
    go_on(ws, spin)
    assert list(layers) == order
    assert np.allclose(layers.extent.world[1], (59, 69)), "nor do hidden layers reach farther than the image"
    assert (scene.image_layer.gamma, scene.image_layer.opacity) == (0.5, 0.8)
    assert (scene.mask_layer.opacity, scene.mask_layer.brush_size, scene.mask_layer.contour) == (0.3, 4, 2)
    assert scene.overlay.layer.opacity == 0.6
    assert not scene.overlay.layer.visible
    assert not scene.overlay.arrows.visible
    scene.proposals_visible = True
    assert_shown(ws)
    ws.close_image()
    assert list(layers) == [mine]


def test_a_hidden_mask_is_the_next_images_when_it_is_shown(review, spin):
    ws = review
    ws.scene.mask_visible = False
    first = go_on(ws, spin)
    assert not ws.scene.mask_visible
    ws.decide(Verdict.ACCEPTED)
    ws.scene.mask_visible = True
    assert_shown(ws)
    ws.scene.raw(True)
    ws.open_image(first.id)
    spin()
    assert ws.scene.mask_visible, "the raw image was that of the other one"
    assert ws.scene.proposals_visible
    assert_shown(ws)


def test_nothing_of_the_image_before_is_left(review, spin):
    ws, layer = review, review.scene.mask_layer
    ws.scene.changes_shown = True
    ws.decide(Verdict.ACCEPTED)
    layer.mode, layer.selected_label = "paint", 1
    layer.features = {"index": [1], "length": [3.0]}
    layer.metadata["taken"] = "by hand"
    layer.paint((5, 5), 1)
    spin()
    assert ws.session.labels[5, 5] == 1
    labels = ws.session.labels.copy()
    callbacks = len(layer.mouse_drag_callbacks), len(layer.mouse_move_callbacks)
    first = go_on(ws, spin)
    assert ws.scene.mask_layer is layer
    assert not ws.scene.changes_shown
    assert str(layer.mode) == "pan_zoom"
    assert "length" not in layer.features
    assert not layer.metadata
    assert (len(layer.mouse_drag_callbacks), len(layer.mouse_move_callbacks)) == callbacks
    assert not np.allclose(layer.get_color(1), layer.get_color(2)), "the colours of its classes"
    second = ws.session.labels.copy()
    # napari's own undo, not the one that leads into the review: what it kept has other coordinates.
    Labels.undo(layer)
    spin()
    assert np.array_equal(layer.data, second)
    ws.session.delete_component(15, 10)
    ws.scene.changes_shown = True
    changes = ws.viewer.layers["Changes"].data
    assert np.array_equal(changes == 2, (ws.session.labels == 0) & (second > 0))
    ws.open_image(first.id)
    spin()
    assert np.array_equal(ws.session.labels, labels)
    assert_shown(ws)
    assert not ws.viewer.layers["Changes"].data.any()


def test_a_stroke_that_waits_is_its_own_images(review, spin):
    ws = review
    go_on(ws, spin)
    second = ws.record.id
    ws.open_image(ws.images()[0].id)
    spin()
    first = ws.record.id
    ws.open_image(second)
    assert ws.tasks._handles["open"].wait(60)
    ws.scene.mask_layer.paint((5, 5), 1)
    spin()
    assert ws.record.id == second
    assert ws.session.labels[5, 5] == 0
    assert not ws.session.can_undo
    assert ws.project.open_session(first, ws.annotator).labels[5, 5] == 1


def test_layers_thrown_away_by_hand_are_made_for_the_next_image(review, spin):
    ws = review
    ws.viewer.layers.remove("Changes")
    ws.viewer.layers.remove("Proposals")
    first = go_on(ws, spin)
    assert {"Changes", "Proposals", "Proposal ends"} <= {layer.name for layer in ws.viewer.layers}
    assert len(ws.viewer.layers) == 6
    assert_shown(ws)
    ws.open_image(first.id)
    assert ws.tasks._handles["open"].wait(60)
    ws.viewer.layers.remove(ws.scene.image_layer)
    spin()
    assert ws.record.id == first.id, "it was asked for before the layer went"
    assert len(ws.viewer.layers) == 6
    assert_shown(ws)


def test_a_view_that_is_shown_is_shown_of_the_next_image(review, spin, qtbot):
    ws = review
    panel = ViewPanel(ws)
    qtbot.addWidget(panel)
    for box in (panel.green, panel.contrast):
        box.click()
        spin()
    panel.contrast.click()
    layer = ws.viewer.layers["Green channel"]
    first = go_on(ws, spin)
    assert ws.viewer.layers["Green channel"] is layer
    assert layer.visible
    assert panel.green.isChecked()
    assert not panel.contrast.isChecked()
    assert np.array_equal(layer.data, ws.image.pixels[..., 1])
    assert "Local contrast" not in ws.viewer.layers, "nobody looks at it"
    go_on_grey = other_sample(1)
    ws.add_image(*go_on_grey)
    spin()
    assert "Green channel" not in ws.viewer.layers, "a grey image has none"
    assert not panel.green.isChecked()
    ws.open_image(first.id)
    spin()
    assert not ws.scene.views.layers
    assert_shown(ws)


def test_what_is_hidden_tuned_or_deleted_in_the_list_of_layers_shows_in_the_boxes(review, spin):
    ws, scene, panel = review, review.scene, ViewPanel(review)
    panel.green.click()
    spin()
    assert panel.mask_box.isChecked()
    scene.mask_layer.visible = False
    scene.mask_layer.opacity = 0.35
    assert not panel.mask_box.isChecked()
    assert panel.opacity.value() == 35
    assert scene.overlay.arrows.visible
    scene.overlay.layer.visible = False
    assert not panel.ghost_box.isChecked()
    assert not scene.overlay.arrows.visible
    for name, box in (("Fragments", panel.fragments), ("Green channel", panel.green)):
        assert box.isChecked()
        ws.viewer.layers.remove(name)
        assert not box.isChecked()


def test_a_preview_ends_with_its_image(review, spin):
    ws = review
    ws.scene.preview(np.ones(ws.session.shape, bool))
    assert not ws.scene.mask_layer.visible
    go_on(ws, spin)
    assert "Threshold preview" not in ws.viewer.layers
    assert ws.scene.mask_visible
    assert_shown(ws)


def test_a_preview_gives_way_to_the_raw_image_and_to_a_repaint(review):
    ws, scene, panel = review, review.scene, ViewPanel(review)
    everywhere = np.ones(ws.session.shape, bool)
    scene.mask_visible = False
    scene.preview(everywhere)
    shown = ws.viewer.layers["Threshold preview"]
    scene.raw(scene.mask_visible)
    assert not shown.visible
    scene.raw(False, mask=True)
    assert shown.visible
    assert not scene.mask_layer.visible
    panel.mask_box.click()
    assert not shown.visible
    scene.end_preview()
    assert not scene.mask_layer.visible, "as it was before the preview"
    scene.preview(everywhere)
    ws.start_repaint()
    assert "Threshold preview" not in ws.viewer.layers
    assert scene.mask_layer.visible, "it is painted on"


def test_layers_that_show_nothing_yet_come_when_the_keys_work_and_leave_the_mask_active(workspace, drawn, spin):
    seen = []

    def opened():
        if workspace.session is not None:
            seen.append([layer.name for layer in workspace.viewer.layers][1:])
            # Followed by both, though neither is there.
            workspace.session.stroke(np.ones((3, 3), np.uint8), (104, 20))
            assert workspace.scene.fragments_shown

    workspace.image_opened.connect(opened)
    workspace.add_image(*drawn)
    spin()
    assert seen == [["Vessels", "Proposals", "Proposal ends"]]
    layers = workspace.viewer.layers
    assert [layer.name for layer in layers][1:] == ["Vessels", "Fragments", "Proposals", "Proposal ends", "Changes"]
    assert layers.selection.active is workspace.scene.mask_layer
    assert layers["Fragments"].data[105, 21]
    assert layers["Changes"].data[105, 21] == 1
