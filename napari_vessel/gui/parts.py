"""Small pieces that the dock widgets share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial, wraps
from typing import Any, Protocol

from psygnal import EmitLoopError, SignalInstance
from qtpy.compat import isalive
from qtpy.QtCore import QEvent, QObject, QSize, Qt
from qtpy.QtGui import QFontMetrics, QPainter, QPaintEvent, QResizeEvent
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QFrame,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_vessel.errors import VesselError
from napari_vessel.images.image import Modality
from napari_vessel.jobs import Progress

MARGIN = 8
SPACING = 6
TIGHT = 4

MODALITY_NAMES = {
    Modality.FUNDUS: "Fundus photograph",
    Modality.OCTA: "OCT angiography",
    Modality.XRAY: "X-ray angiogram",
    Modality.TWOPHOTON: "Two-photon",
    Modality.OTHER: "Other",
}


def connect_while_alive(widget: QObject, signal: SignalInstance, slot: Callable[..., Any]) -> None:
    """Connect a psygnal signal to a widget's, or layout's, method until Qt deletes that."""
    signal.connect(slot)
    widget.destroyed.connect(partial(_disconnect, signal, slot))


def while_alive(widget: QObject, slot: Callable[..., None]) -> Callable[..., None]:
    """Return a widget's `slot` for the end of a job: it does nothing when Qt has deleted the widget by then."""

    def call(*args: Any) -> None:
        if isalive(widget):
            slot(*args)

    return call


def _disconnect(signal: SignalInstance, slot: Callable[..., Any], *_: Any) -> None:
    # Where the garbage collector takes a whole window apart, the signal may have gone before the widget.
    with suppress(AttributeError):
        signal.disconnect(slot, missing_ok=True)


class Walked(Protocol):
    """What an annotator goes through, in its own order or in that of a sorted, filtered table."""

    order: Callable[[], list[str]] | None


def go_by(widget: QObject, walked: Walked, order: Callable[[], list[str]]) -> None:
    """Let the order in which a widget shows something count for as long as Qt keeps the widget."""
    walked.order = order
    widget.destroyed.connect(partial(_go_by_none, walked, order))


def _go_by_none(walked: Walked, order: Callable[[], list[str]], *_: Any) -> None:
    if walked.order == order:
        walked.order = None


def on_enter(box: QAbstractSpinBox, slot: Callable[[], None]) -> None:
    """Connect what follows when a number is ended with Enter.

    A box also finishes its editing when it loses the focus, in the middle of the change: what took the focus then
    would not get it.
    """
    box.editingFinished.connect(lambda: slot() if box.hasFocus() else None)


def told(method: Callable[..., Any]) -> Callable[..., None]:
    """Let a slot of a widget fail with one sentence in the viewer; the widget has a ``workspace``."""

    @wraps(method)
    def slot(self: Any, *_: Any) -> None:
        try:
            method(self)
        except (VesselError, EmitLoopError) as error:
            self.workspace.report(error)

    return slot


def widen(combo: QComboBox) -> None:
    """Let a combo box fill its form's column, however long or short its items are."""
    combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    combo.setMinimumContentsLength(12)
    combo.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)


class TightButton(QPushButton):
    """A button as narrow as its text allows, and as wide as its row gives it."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.setSizePolicy(QSizePolicy.Policy.Minimum, QSizePolicy.Policy.Fixed)

    def minimumSizeHint(self) -> QSize:
        """Ask for the text and a little air."""
        return self.sizeHint()

    def sizeHint(self) -> QSize:
        """Ask for the text and a little air."""
        width = self.fontMetrics().horizontalAdvance(self.text().replace("&", ""))
        return QSize(width + 8, super().sizeHint().height())


class ElidedLabel(QLabel):
    """One line that never widens its dock: the middle of a long text gives way, and the tooltip has all of it.

    Its place does not depend on its text. Qt's own label asks for a new layout with every text, and the window with
    the canvas in it is drawn once more for that.
    """

    def __init__(self) -> None:
        super().__init__()
        self._text = ""

    def text(self) -> str:
        """Return the text, all of it."""
        return self._text

    def setText(self, text: str) -> None:
        """Show `text` and keep it whole as the tooltip."""
        if text != self._text:
            self._text = text
            self.setAccessibleDescription(text)
            self.update()
        self.setToolTip(text)

    def minimumSizeHint(self) -> QSize:
        """Ask for next to no width."""
        return QSize(40, super().minimumSizeHint().height())

    def sizeHint(self) -> QSize:
        """Ask for no more width than the dock has."""
        return self.minimumSizeHint()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw what fits."""
        painter = QPainter(self)
        text = QFontMetrics(self.font()).elidedText(self._text, Qt.TextElideMode.ElideMiddle, self.width())
        painter.setPen(self.palette().windowText().color())
        painter.drawText(self.rect(), int(Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft), text)


class FittingLabel(ElidedLabel):
    """One line with several wordings, of which the first that fits is shown."""

    def __init__(self) -> None:
        super().__init__()
        self._wordings: tuple[str, ...] = ("",)

    def set_wordings(self, wordings: Sequence[str]) -> None:
        """Show the first of these, longest first, that fits; the tooltip has the longest."""
        self._wordings = tuple(wordings)
        self._choose()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Choose again."""
        super().resizeEvent(event)
        self._choose()

    def _choose(self) -> None:
        width = self.fontMetrics().horizontalAdvance
        fitting = (words for words in self._wordings if width(words) <= self.width())
        super().setText(next(fitting, self._wordings[-1]))
        self.setToolTip(self._wordings[0])


class StatusLine(QWidget):
    """Room for a sentence, always the same height, so that nothing jumps when it changes.

    The label is in no layout: it would ask for a new one with every text.
    """

    def __init__(self, lines: int = 2, selectable: bool = True) -> None:
        super().__init__()
        self._label = QLabel(self)
        self._label.installEventFilter(self)
        self._label.setIndent(0)
        self._label.setWordWrap(selectable)
        self._label.setTextFormat(Qt.TextFormat.PlainText)
        if selectable:
            self._label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._label.setAlignment(Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self._lines = lines
        self._text = self._under_way = ""
        self._fit()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Keep room for the lines in another font: napari's theme comes after the label was made."""
        if event.type() in (QEvent.Type.FontChange, QEvent.Type.StyleChange):
            self._fit()
        return False

    def _fit(self) -> None:
        self.setFixedHeight(self._lines * (self._label.fontMetrics().lineSpacing() + 1) + 4)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Give the label all of the room."""
        super().resizeEvent(event)
        self._label.setGeometry(self.rect())
        self._show()

    def text(self) -> str:
        """Return the sentence, all of it."""
        return self._text

    def setText(self, text: str) -> None:
        """Show as much of `text` as there is room for; the tooltip has all of it."""
        self._text = text
        self.setToolTip(text)
        self._show()

    def _show(self) -> None:
        """Let the end of what is too long give way to dots: half a line at the foot is read by nobody."""
        text = self._text
        if self._label.wordWrap() and not self._has_room_for(text):
            few, many = 0, len(text)
            while many - few > 1:
                middle = (few + many) // 2
                few, many = (middle, many) if self._has_room_for(f"{text[:middle]}…") else (few, middle)
            text = f"{text[:few].rstrip()}…"
        self._label.setText(text)

    def _has_room_for(self, text: str) -> bool:
        wrap = int(Qt.TextFlag.TextWordWrap)
        needed = self._label.fontMetrics().boundingRect(0, 0, max(self.width(), 1), 10_000, wrap, text).height()
        return needed <= self.height()

    def tell(self, text: str, level: str = "info") -> None:
        """Show a sentence of the workspace, with a mark where it is a warning or an error."""
        self.setText({"warning": "⚠ ", "error": "✘ "}.get(level, "") + text)

    def show_busy(self, progress: Progress | None, text: str) -> None:
        """Show what is under way; when nothing is any more, no longer: it would look as if it never ended."""
        if progress is not None:
            self.setText(text)
            self._under_way = text
        elif self.text() == self._under_way:
            self.setText("")


class JobBar(QWidget):
    """How far the running job is, how long it will take, and the button that stops it."""

    def __init__(self, on_cancel: Callable[[], None]) -> None:
        super().__init__()
        self.progress = QProgressBar()
        self.progress.setTextVisible(False)
        self.progress.setRange(0, 1000)
        self.cancel_button = QPushButton("&Cancel")
        self.cancel_button.setToolTip("Stop the running work; everything stays as it was before it.")
        self.cancel_button.clicked.connect(lambda: on_cancel())
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(SPACING)
        layout.addWidget(self.progress, 1)
        layout.addWidget(self.cancel_button)
        self.show_progress(None)

    def show_progress(self, progress: Progress | None) -> None:
        """Move the bar; None when nothing runs."""
        self.cancel_button.setEnabled(progress is not None)
        fraction = progress.fraction if progress is not None else 0.0
        self.progress.setRange(0, 0 if fraction is None else 1000)
        if fraction is not None:
            self.progress.setValue(round(1000 * fraction))


def in_row(*parts: QWidget | None) -> QHBoxLayout:
    """Return the parts side by side; None is room that stretches."""
    row = QHBoxLayout()
    row.setContentsMargins(0, 0, 0, 0)
    row.setSpacing(TIGHT)
    for part in parts:
        if part is None:
            row.addStretch(1)
        elif isinstance(part, TightButton):
            # In proportion to the texts, so that each has the same air.
            row.addWidget(part, part.sizeHint().width())
        else:
            row.addWidget(part)
    return row


def in_column(*parts: QWidget) -> QWidget:
    """Return the parts one under the other, with no room between them."""
    box = QWidget()
    layout = QVBoxLayout(box)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(0)
    for part in parts:
        layout.addWidget(part)
    return box


def rule() -> QFrame:
    """Return a thin line across the dock."""
    line = QFrame()
    line.setFrameShape(QFrame.Shape.HLine)
    line.setFixedHeight(1)
    return line


def score_box(tooltip: str, value: float) -> QDoubleSpinBox:
    """Return a box for a score; its tooltip says what a score is not."""
    box = QDoubleSpinBox()
    box.setRange(0.0, 1.0)
    box.setSingleStep(0.05)
    box.setDecimals(2)
    box.setValue(value)
    box.setToolTip(f"{tooltip} The score is the chance that a proposal is right, as other annotators see it.")
    return box


def set_quietly(box: QCheckBox, on: bool) -> None:
    """Tick a box without telling anybody."""
    box.blockSignals(True)
    box.setChecked(on)
    box.blockSignals(False)
