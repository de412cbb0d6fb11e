"""Keys of the review: one table, from which the bindings, the labels of buttons and their tooltips are made."""

from __future__ import annotations

import atexit
import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any
from weakref import WeakSet, ref

from qtpy.QtCore import QEvent, QObject, Qt, QTimer
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QDockWidget,
    QKeySequenceEdit,
    QLineEdit,
    QListView,
    QMainWindow,
    QPlainTextEdit,
    QTextEdit,
    QWidget,
)

from napari_vessel.gui.workspace import Workspace
from napari_vessel.review.edits import Verdict

HOLD_SECONDS = 0.3
_alive: WeakSet[Any] = WeakSet()


@dataclass(frozen=True, slots=True)
class Key:
    """One thing a key does.

    Attributes
    ----------
    id : str
        Name in the program.
    keys : tuple of str
        As napari writes them: ``A``, ``Shift-N``, ``Control-Z``.
    text : str
        For a button.
    help : str
        For a tooltip and the list of keys.
    """

    id: str
    keys: tuple[str, ...]
    text: str
    help: str

    @property
    def label(self) -> str:
        """The key as people write it."""
        return self.keys[0].replace("Control", "Ctrl").replace("-", "+").replace("Delete", "Del")

    @property
    def button(self) -> str:
        """Text of a button with its key on it."""
        return f"{self.label} {self.text}"

    @property
    def tooltip(self) -> str:
        """What it does, and the keys that do it."""
        names = " or ".join(k.replace("Control", "Ctrl").replace("-", "+") for k in self.keys)
        return f"{self.help} Key: {names}."


KEYS = (
    Key(
        "accept",
        ("A",),
        "Accept",
        "Draw the proposed completion; erase the proposed cut. A fragment: keep it. Then the next.",
    ),
    Key(
        "reject",
        ("R",),
        "Reject",
        "A real end, or two vessels; of a cut: a vessel. Not proposed again. A fragment: delete it.",
    ),
    Key(
        "repaint",
        ("E",),
        "Repaint",
        "Paint the completion yourself, with the brush in the vessel's width; erase a cut yourself.",
    ),
    Key("unsure", ("U",), "Unsure", "You cannot tell: leave it, and say so."),
    Key("skip", ("S",), "Skip", "Leave it for another time."),
    Key("next", ("N",), "Next", "Go to the next open one of the list."),
    Key("back", ("B",), "Back", "Go back to the one before in the list, decided or not."),
    Key("queue", ("Q",), "Next list", "Go to the next list with something open: gaps, cuts, fragments, differences."),
    Key("wire", ("W",), "Wire", "In a repaint: click along the vessel, and the stroke follows it. Again: the brush."),
    Key("erase", ("X",), "Eraser", "In a repaint: the eraser. Again: the brush."),
    Key(
        "end_repaint",
        ("Enter",),
        "Done painting",
        "End the repaint: what you painted counts. Or do the bulk action that is shown.",
    ),
    Key(
        "cancel_repaint",
        ("Escape",),
        "Leave",
        "Leave the repaint or the bulk action; nothing is changed.",
    ),
    Key("mask", ("T",), "Mask", "Show or hide the mask; hold the key to see the raw image until you let go."),
    Key("proposals", ("G",), "Proposals", "Show or hide the proposals."),
    Key("changes", ("C",), "Changes", "Show or hide what has changed since the image was opened."),
    Key("delete", ("Delete",), "Delete component", "Delete the component under the cursor, or clicked last."),
    Key("done", ("D",), "Image done", "Mark the image as done and open the next; on a finished one: take it up again."),
    Key("next_image", ("Shift-N",), "Next image", "Open the next image of the project."),
    Key("previous_image", ("Shift-B",), "Previous image", "Open the image before."),
    Key(
        "undo",
        ("Control-Z",),
        "Undo",
        "Take back the last thing done: verdict, stroke, bulk accept or new mask. In another image: go there first.",
    ),
    Key("redo", ("Control-Y", "Control-Shift-Z"), "Redo", "Do it again. In another image: go there first."),
    Key("undo_here", ("Control-Alt-Z",), "Undo here", "Take back the last thing done to this image, and to no other."),
)
_REPAINT = ("end_repaint", "cancel_repaint")
_TOOLS = ("wire", "erase")
BY_ID = {key.id: key for key in KEYS}

_QT_KEYS = {
    "Enter": (Qt.Key.Key_Return, Qt.Key.Key_Enter),
    "Escape": (Qt.Key.Key_Escape,),
    "Delete": (Qt.Key.Key_Delete,),
}
_TYPING = (QLineEdit, QTextEdit, QPlainTextEdit, QAbstractSpinBox, QComboBox, QKeySequenceEdit)


def actions(workspace: Workspace) -> dict[str, Callable[[], None]]:
    """Return what each key does; buttons call the same functions."""
    scene = workspace.scene

    def toggle_proposals() -> None:
        scene.proposals_visible = not scene.proposals_visible

    def toggle_changes() -> None:
        scene.changes_shown = not scene.changes_shown

    def toggle_mask() -> None:
        scene.mask_visible = not scene.mask_visible

    return {
        "accept": lambda: workspace.queues.answer(Verdict.ACCEPTED),
        "reject": lambda: workspace.queues.answer(Verdict.REJECTED),
        "repaint": workspace.start_repaint,
        "unsure": lambda: workspace.queues.answer(Verdict.UNSURE),
        "skip": lambda: workspace.queues.answer(Verdict.SKIPPED),
        "next": workspace.queues.step,
        "back": lambda: workspace.queues.step(-1),
        "queue": workspace.queues.go_on,
        "wire": lambda: workspace.review.repaint.take("wire"),
        "erase": lambda: workspace.review.repaint.take("erase"),
        "end_repaint": workspace.queues.finish,
        "cancel_repaint": workspace.queues.leave,
        "mask": toggle_mask,
        "proposals": toggle_proposals,
        "changes": toggle_changes,
        "delete": workspace.delete_component,
        "done": workspace.mark_done,
        "next_image": workspace.next_image,
        "previous_image": lambda: workspace.next_image(-1),
        "undo": workspace.undo,
        "redo": workspace.redo,
        "undo_here": workspace.review.undo,
    }


class ReviewKeys(QObject):
    """Makes the review's keys work wherever the focus is in the viewer's window, but never while typing.

    While an image is open the keys are bound on the viewer and on the mask layer, whose own keys (E the eraser, B
    preserve labels) would win otherwise; and because a table swallows letters and a button some, presses on any widget
    of the window are looked at before the widget gets them.

    Parameters
    ----------
    workspace : Workspace
        What the keys act on. One object of this class per workspace: see :meth:`of`.
    """

    def __init__(self, workspace: Workspace, window: QWidget) -> None:
        super().__init__(window)
        self._workspace, self._window = workspace, window
        self._actions = actions(workspace)
        self._table = {combo: key.id for key in KEYS for name in key.keys for combo in _combinations(name)}
        self._held: tuple[float, bool] | None = None
        self._typed: QWidget | None = None
        self._viewer_before: dict[str, Any] | None = None
        self._on_opened()
        workspace.image_opened.connect(self._on_opened)
        QApplication.instance().installEventFilter(self)
        _alive.add(self)
        window.destroyed.connect(partial(_abandon, ref(workspace)))

    @classmethod
    def of(cls, workspace: Workspace, window: QWidget) -> ReviewKeys:
        """Return the keys of a main window, made on first use."""
        found = window.findChild(QObject, "napari-vessel-keys", Qt.FindChildOption.FindDirectChildrenOnly)
        if isinstance(found, cls):
            return found
        keys = cls(workspace, window)
        keys.setObjectName("napari-vessel-keys")
        return keys

    def let_go(self) -> None:
        """Look at no more events, and let the workspace close its project."""
        application = QApplication.instance()
        if application is not None:
            application.removeEventFilter(self)
        self._workspace.abandon()

    def _closed(self) -> None:
        """Let go of the project when its window was closed: a notebook goes on, and the viewer with it for a while."""
        if not self._window.isVisible():
            self._workspace.close()
            self.let_go()

    # napari's bindings

    def _on_opened(self) -> None:
        viewer = self._workspace.viewer
        if self._workspace.session is None:
            if self._viewer_before is not None:
                viewer.keymap.clear()
                viewer.keymap.update(self._viewer_before)
                self._viewer_before = None
            return
        if self._viewer_before is None:
            self._viewer_before = dict(viewer.keymap)
            self._bind(viewer)
        # With a new mask layer come new bindings.
        self._bind(self._workspace.scene.mask_layer)

    def _bind(self, target: Any) -> None:
        for key in KEYS:
            # Enter and Escape belong to napari's polygon tool but for a repaint: only the filter below takes them, and
            # the keys of a repaint's tools.
            for name in () if key.id in (*_REPAINT, *_TOOLS) else key.keys:
                target.bind_key(name, self._bound(key.id), overwrite=True)

    def _bound(self, key_id: str) -> Callable[[Any], Any]:
        if key_id == "mask":

            def hold(_: Any) -> Iterator[None]:
                self._press_mask()
                yield
                self._release_mask()

            return hold

        def press(_: Any) -> None:
            self._run(key_id)

        return press

    # Any other widget

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Run a review key pressed on a widget of the window before the widget sees it."""
        kind = event.type()
        # Qt still calls while Python takes the object apart.
        if kind == QEvent.Type.Close and watched is getattr(self, "_window", None):
            # Afterwards: napari may ask first, and stay.
            QTimer.singleShot(0, self._closed)
            return False
        if kind not in (QEvent.Type.KeyPress, QEvent.Type.KeyRelease, QEvent.Type.ShortcutOverride):
            return False
        if not isinstance(watched, QWidget) or self._workspace.session is None:
            return False
        if not isinstance(event, QKeyEvent):
            # vispy keeps the last event of the mouse; PyQt may take a key at the same address for that one.
            return False
        key_id = self._table.get((event.key(), _plain(event.modifiers())))
        if key_id is None or not (watched.window() is self._window or self._floats(watched)):
            return False
        if is_typing(watched):
            self._note_typing(watched)
            return False
        if self._typed is not None and kind == QEvent.Type.KeyPress and watched.isAncestorOf(self._typed):
            # The text field has used the key and lets it through to its parents, and so to the canvas: not meant.
            return True
        if not self._is_free():
            return False
        if key_id == "delete" and self._takes_layers_out(watched):
            return False
        if key_id in _TOOLS and not self._workspace.review.repainting:
            return False
        if key_id in _REPAINT and not self._workspace.queues.undecided:
            return False
        if kind == QEvent.Type.ShortcutOverride:
            # Otherwise a menu entry with the same shortcut would take it.
            event.accept()
            return True
        if not event.isAutoRepeat():
            if key_id == "mask":
                (self._press_mask if kind == QEvent.Type.KeyPress else self._release_mask)()
            elif kind == QEvent.Type.KeyPress:
                self._run(key_id)
        return True

    def _floats(self, widget: QWidget) -> bool:
        """Whether a widget is in a dock that floats: a window of its own; napari's preferences are none."""
        window = widget.window()
        return isinstance(window, QDockWidget) and window.parentWidget() is self._window

    def _takes_layers_out(self, widget: QWidget) -> bool:
        """Whether Delete means layers: the focus is in the list of them, and the mouse does not point at the image."""
        if not (isinstance(widget, QListView) and type(widget).__module__.startswith("napari.")):
            return False
        canvas = self._workspace.scene.canvas
        return canvas is None or not canvas.underMouse()

    @staticmethod
    def _is_free() -> bool:
        """Whether nothing else has a claim to the key: no menu, no dialog, no text with the focus."""
        if QApplication.activePopupWidget() is not None or QApplication.activeModalWidget() is not None:
            return False
        focus = QApplication.focusWidget()
        return focus is None or not is_typing(focus)

    def _note_typing(self, widget: QWidget) -> None:
        self._typed = widget
        QTimer.singleShot(0, self._forget_typing)

    def _forget_typing(self) -> None:
        self._typed = None

    def _run(self, key_id: str) -> None:
        self._actions[key_id]()

    # T: a tap toggles, a hold shows the raw image until the key is released

    def _press_mask(self) -> None:
        scene = self._workspace.scene
        visible = scene.mask_visible
        scene.raw(visible)
        # From when the raw image is there: where drawing is slow, a tap would otherwise read as a hold.
        self._held = (time.monotonic(), visible)

    def _release_mask(self) -> None:
        if self._held is None:
            return
        (since, visible), self._held = self._held, None
        long = time.monotonic() - since > HOLD_SECONDS
        self._workspace.scene.raw(False, mask=visible if long else not visible)


def install_keys(widget: QWidget, workspace: Workspace) -> None:
    """Make the keys work in the main window that a dock widget is in; call it when the widget is shown."""
    parent: QWidget | None = widget
    while parent is not None and not isinstance(parent, QMainWindow):
        parent = parent.parentWidget()
    if parent is not None:
        ReviewKeys.of(workspace, parent)


def _abandon(workspace: ref[Workspace], *_: Any) -> None:
    found = workspace()
    if found is not None:
        found.abandon()


@atexit.register
def _let_go() -> None:
    # Qt still sends events while the interpreter goes down, to objects that are half gone: that ends in a crash.
    for keys in list(_alive):
        # Qt deletes what belongs to a window with it.
        with contextlib.suppress(RuntimeError):
            keys.let_go()


def is_typing(widget: QWidget) -> bool:
    """Whether letters pressed on a widget are text: a text field, the text of a spin box, the search of a combo box."""
    if isinstance(widget, QLineEdit | QTextEdit | QPlainTextEdit) and widget.isReadOnly():
        return False
    return isinstance(widget, _TYPING)


def _plain(modifiers: Any) -> frozenset[str]:
    names = {
        "Shift": Qt.KeyboardModifier.ShiftModifier,
        "Control": Qt.KeyboardModifier.ControlModifier,
        "Alt": Qt.KeyboardModifier.AltModifier,
        "Meta": Qt.KeyboardModifier.MetaModifier,
    }
    return frozenset(name for name, flag in names.items() if modifiers & flag)


def _combinations(name: str) -> list[tuple[int, frozenset[str]]]:
    *modifiers, key = name.split("-")
    codes = _QT_KEYS.get(key) or (getattr(Qt.Key, f"Key_{key}"),)
    return [(code, frozenset(modifiers)) for code in codes]
