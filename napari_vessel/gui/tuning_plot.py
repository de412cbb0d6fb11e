"""Four small plots of how fine-tuning goes: the loss, and three figures of the guards, new against old."""

from __future__ import annotations

from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QPainter, QPaintEvent, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_vessel.gui.curve import LOSS, NEW, places
from napari_vessel.gui.training_runs import Points, TuningCurves

_LEAST, _MOST = 130, 260
"""Height, px: on a small screen, and where there is room."""

_GAP = 8.0


class TuningPlot(QWidget):
    """Loss, and Dice, clDice and b0 error of the guards: the old model dashed, the new one solid with dots."""

    def __init__(self) -> None:
        super().__init__()
        self.curves = TuningCurves()
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMinimumHeight(_LEAST)
        self.setMaximumHeight(_MOST)
        self.setAccessibleName("How it goes")

    def sizeHint(self) -> QSize:
        """Ask for the width of a dock."""
        return QSize(300, _LEAST)

    def show_curves(self, curves: TuningCurves) -> None:
        """Show how a run went so far."""
        if curves == self.curves and self.toolTip():
            return
        self.curves = curves
        words = [
            f"{name} {points[-1][1]:.{digits}f} at step {points[-1][0]}, {points[0][1]:.{digits}f} before"
            for name, points, digits in self._panels()
            if points
        ]
        self.setAccessibleDescription("; ".join(words))
        self.setToolTip(
            "Loss of the training, and on the images to judge by, at the scale the network works at: Dice and clDice "
            "(more is better), b0 error (less is better), the old model dashed."
        )
        self.update()

    def _panels(self) -> list[tuple[str, Points, int]]:
        curves = self.curves
        return [
            ("loss", curves.loss, 2),
            ("Dice", curves.dice, 3),
            ("clDice", curves.cl_dice, 3),
            ("b0 error", curves.b0_error, 1),
        ]

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the legend and the four panels."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        ink = self.palette().windowText().color()
        curves = self.curves
        last = max([curves.steps, *(step for _, points, _ in self._panels() for step, _ in points)], default=0)
        line = self.fontMetrics().height()
        self._draw_legend(painter, ink, line)
        wide, high = (self.width() - _GAP) / 2, (self.height() - line - 2.0) / 2
        for number, (name, points, digits) in enumerate(self._panels()):
            x, y = (number % 2) * (wide + _GAP), line + 2.0 + (number // 2) * high
            panel = QRectF(x, y, wide, high - 2.0)
            self._draw_panel(painter, panel, name, points, digits, last, against_old=number > 0)

    def _draw_legend(self, painter: QPainter, ink: QColor, line: int) -> None:
        x = 0.0
        for text, colour in (
            ("┅┅", ink),
            (" old model   ", ink),
            ("●━", QColor(NEW)),
            (" new model", ink),
        ):
            painter.setPen(colour)
            painter.drawText(QPointF(x, line - 3.0), text)
            x += self.fontMetrics().horizontalAdvance(text)

    def _draw_panel(
        self, painter: QPainter, panel: QRectF, name: str, points: Points, digits: int, last: int, against_old: bool
    ) -> None:
        ink = self.palette().windowText().color()
        faint = QColor(ink)
        faint.setAlpha(70)
        line = self.fontMetrics().height()
        frame = panel.adjusted(1.0, line + 1.0, -1.0, -1.0)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(faint)
        painter.drawRect(frame)
        words = name
        if points and against_old:
            words = f"{name}  {points[0][1]:.{digits}f} → {points[-1][1]:.{digits}f}"
        elif points:
            words = f"{name}  {points[-1][1]:.{digits}f}"
        painter.setPen(ink)
        painter.drawText(QPointF(panel.left() + 1.0, panel.top() + line - 2.0), words)
        if not points or not last:
            painter.setPen(faint)
            painter.drawText(frame, int(Qt.AlignmentFlag.AlignCenter), "comes with the steps" if last else "")
            return
        values = [value for _, value in points]
        low, high = (min(values), max(values)) if against_old else (0.0, max(values))
        # Two lines a hair apart are seen apart, and noise of the last digit is not blown up.
        room = max(high - low, 4 * 10.0**-digits) * 0.15
        low, high = low - room * against_old, high + room
        inside = frame.adjusted(2.0, 2.0, -2.0, -2.0)
        scaled = [(step, value - low) for step, value in points]
        if against_old:
            painter.setPen(QPen(ink, 1.2, Qt.PenStyle.DashLine))
            (before,) = places(inside, scaled[:1], last, high - low)
            painter.drawLine(QPointF(inside.left(), before.y()), QPointF(inside.right(), before.y()))
        colour = QColor(NEW if against_old else LOSS)
        there = places(inside, scaled, last, high - low)
        painter.setPen(QPen(colour, 2.0))
        painter.drawPolyline(QPolygonF(there))
        if against_old:
            painter.setBrush(colour)
            painter.setPen(Qt.PenStyle.NoPen)
            for point in there:
                painter.drawEllipse(point, 2.5, 2.5)
