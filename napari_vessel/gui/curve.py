"""A small plot of how a training goes: loss falls, Dice of what is held out rises."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QPainter, QPaintEvent, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_vessel.gui.training_runs import Curve

_HEIGHT = 118
LOSS, NEW = "#e69f00", "#56a0ff"


class CurvePlot(QWidget):
    """Loss (solid) and Dice of what is held out (dashed, with dots), over the steps.

    Dice has the scale 0 to 1; the loss has its own, from 0 to its largest value.
    """

    def __init__(self) -> None:
        super().__init__()
        self.curve = Curve()
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setFixedHeight(_HEIGHT)

    def sizeHint(self) -> QSize:
        """Ask for the width of a dock."""
        return QSize(300, _HEIGHT)

    def show_curve(self, curve: Curve) -> None:
        """Show how a run went so far."""
        if curve == self.curve:
            return
        self.curve = curve
        words = [f"{word} {value:.2f} at step {step}" for word, (step, value) in self._latest()]
        self.setAccessibleDescription(", ".join(words))
        self.setToolTip("Loss of the training, and Dice of the image that is held out, by step.")
        self.update()

    def _latest(self) -> list[tuple[str, tuple[int, float]]]:
        named = (("loss", self.curve.loss), ("Dice", self.curve.dice))
        return [(word, points[-1]) for word, points in named if points]

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw frame, curves, and the latest value of each."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        ink = self.palette().windowText().color()
        faint = QColor(ink)
        faint.setAlpha(70)
        line = self.fontMetrics().height()
        frame = QRectF(1, line + 4, self.width() - 2, self.height() - line - 6)
        painter.setPen(faint)
        painter.drawRect(frame)
        curve = self.curve
        last = max([curve.steps, *(step for step, _ in (*curve.loss, *curve.dice))], default=0)
        painter.setPen(ink)
        if not last:
            painter.drawText(self.rect(), int(Qt.AlignmentFlag.AlignCenter), "The curve comes with the first steps.")
            return
        painter.setPen(faint)
        painter.drawLine(QPointF(frame.left(), frame.center().y()), QPointF(frame.right(), frame.center().y()))
        painter.setPen(ink)
        top = max((value for _, value in curve.loss), default=1.0) or 1.0
        self._draw(painter, frame, curve.loss, last, top, QPen(QColor(LOSS), 2.0))
        dashed = QPen(QColor(NEW), 2.0, Qt.PenStyle.DashLine)
        self._draw(painter, frame, curve.dice, last, 1.0, dashed)
        painter.setBrush(QColor(NEW))
        painter.setPen(Qt.PenStyle.NoPen)
        for point in places(frame, curve.dice, last, 1.0):
            painter.drawEllipse(point, 3.0, 3.0)
        x = 2.0
        marks = {"loss": ("━", LOSS), "Dice": ("● ┅", NEW)}
        for word, (_, value) in self._latest():
            for text, colour in ((marks[word][0], QColor(marks[word][1])), (f" {word} {value:.2f}   ", ink)):
                painter.setPen(colour)
                painter.drawText(QPointF(x, line - 2.0), text)
                x += self.fontMetrics().horizontalAdvance(text)

    def _draw(
        self, painter: QPainter, frame: QRectF, points: Sequence[tuple[int, float]], last: int, top: float, pen: QPen
    ) -> None:
        painter.setPen(pen)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawPolyline(QPolygonF(places(frame, points, last, top)))


def places(frame: QRectF, points: Sequence[tuple[int, float]], last: int, top: float) -> list[QPointF]:
    """Return where (step, value) lie in a frame that reaches from step 0 to `last` and from value 0 to `top`."""
    return [
        QPointF(frame.left() + frame.width() * step / last, frame.bottom() - frame.height() * min(value / top, 1.0))
        for step, value in points
    ]
