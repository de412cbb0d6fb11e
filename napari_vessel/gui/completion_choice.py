"""Where an annotator chooses a completion model: a box to tick before segmenting, a row over the list of gaps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import QCheckBox, QComboBox, QHBoxLayout, QLabel, QWidget

from napari_vessel.gui.model_card import add_model
from napari_vessel.gui.opening import completion_for
from napari_vessel.gui.parts import MODALITY_NAMES, SPACING, connect_while_alive, set_quietly, told, widen
from napari_vessel.gui.preferences import prefer, preferred, watch
from napari_vessel.images.image import Modality

if TYPE_CHECKING:
    from napari_vessel.gui.workspace import Workspace


class CompletionBox(QCheckBox):
    """Offers to run the completion model after the segmenter, and remembers whether it was asked to."""

    def __init__(self) -> None:
        super().__init__()
        self._words = ""
        self._offered = False
        self.clicked.connect(lambda on: prefer("complete", on))
        watch("complete", self._show)

    @property
    def wanted(self) -> bool:
        """Whether the completion model is to run."""
        return self.isEnabled() and self.isChecked()

    def offer(self, modalities: Sequence[Modality]) -> None:
        """Offer the completion models for the modalities of what is to be segmented; without any say so."""
        found = {modality: completion_for(modality) for modality in dict.fromkeys(modalities)}
        titles = list(dict.fromkeys(info.title for info in found.values() if info is not None))
        self.setEnabled(bool(titles))
        self._offered = bool(titles)
        self._show()
        if titles:
            self._words = f"Propose completions with {' or '.join(titles)}"
            without = [MODALITY_NAMES[modality] for modality, info in found.items() if info is None]
            self.setToolTip(
                f"After the segmenter, {' or '.join(titles)} draws vessels across their breaks. The mask stays as "
                "segmented: what it draws becomes proposals in Vessel gaps, with its probability beside each. "
                "Takes about twice the time."
                + (f" There is no such model for: {', '.join(without)}." if without else "")
            )
        else:
            self._words = "Propose completions: no model for this modality"
            self.setToolTip(_missing(list(found)))
        self._fit()

    def _show(self) -> None:
        set_quietly(self, self._offered and bool(preferred("complete")))

    def minimumSizeHint(self) -> QSize:
        """Ask for next to no width: the end of a long title gives way, and the tooltip has all of it."""
        return QSize(40, super().sizeHint().height())

    def sizeHint(self) -> QSize:
        """Ask for no more width than the dock has."""
        return self.minimumSizeHint()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Show as much of the title as there is room for."""
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        mark = self.iconSize().width() + 12
        room = max(self.width() - mark, 40)
        self.setText(self.fontMetrics().elidedText(self._words, Qt.TextElideMode.ElideRight, room))


class CompletionRow(QWidget):
    """Chooses the model whose completions the gaps of the open image are looked for with, or none.

    Parameters
    ----------
    workspace : Workspace
        Whose image it is.
    """

    chosen = Signal()
    """A choice was made, so that the keys can go back to the review."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__()
        self.workspace = workspace
        self.model = QComboBox()
        self.model.setAccessibleName("Completion model")
        widen(self.model)
        self.model.activated.connect(self._choose)
        self.show_map = QCheckBox("sho&w")
        self.show_map.setToolTip("Look at what the completion model draws. Only a view: no data is altered.")
        self.show_map.toggled.connect(lambda on: workspace.scene.views.show("completion", on))
        label = QLabel("Com&pletion")
        label.setBuddy(self.model)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(SPACING)
        layout.addWidget(label)
        layout.addWidget(self.model, 1)
        layout.addWidget(self.show_map)
        connect_while_alive(self, workspace.image_opened, self.refresh)
        connect_while_alive(self, workspace.completion_changed, self.refresh)
        connect_while_alive(self, workspace.view_changed, self.on_view)
        self.refresh()

    @told
    def refresh(self) -> None:
        """Offer the models there are, those for the image's modality first, and show which one is used."""
        from napari_vessel.segmentation.registry import completion_models

        record, used = self.workspace.record, self.workspace.completing.model
        self.model.clear()
        self.model.addItem("none", "")
        models = completion_models()
        if record is not None:
            for info in sorted(models, key=lambda info: record.modality not in info.modalities):
                add_model(self.model, info, record.modality)
        if self.model.findData(used) < 0:
            self.model.addItem(f"{used} (not installed)", used)
        self.model.setCurrentIndex(self.model.findData(used))
        self.setEnabled(record is not None and self.model.count() > 1)
        self.setToolTip(
            f"{self.model.currentText()}: the model that draws across breaks. Its probability counts in every score, "
            "and what it draws where no two "
            "ends face each other becomes a proposal too."
            if models or record is None
            else _missing([record.modality])
        )
        self.show_map.setEnabled(bool(used))
        self.on_view()

    def on_view(self) -> None:
        """Show whether the map is shown."""
        if not self.workspace.scene.views.is_made("completion"):
            set_quietly(self.show_map, self.workspace.scene.views.shown("completion"))

    def _choose(self, row: int) -> None:
        self.workspace.completing.use(str(self.model.itemData(row)))
        self.chosen.emit()


def _missing(modalities: Sequence[Modality]) -> str:
    from napari_vessel.segmentation.registry import user_folder

    names = ", ".join(MODALITY_NAMES[modality] for modality in modalities)
    return f"There is no completion model for this modality ({names}); put the folder of one into {user_folder()}."
