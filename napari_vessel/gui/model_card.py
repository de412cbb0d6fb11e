"""What there is to read about a model, and about what it did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QDialog, QDialogButtonBox, QTextBrowser, QVBoxLayout, QWidget

from napari_vessel.gui.image_table import modality_word
from napari_vessel.images.image import Modality
from napari_vessel.segmentation.standing import place_among_others

if TYPE_CHECKING:
    from napari_vessel.segmentation.registry import ModelInfo


def add_model(combo: QComboBox, info: ModelInfo, modality: Modality, more: str = "") -> None:
    """Offer a model in a combo box, with a mark and a tooltip where it was made for other modalities."""
    fits = modality in info.modalities
    combo.addItem(f"{'' if fits else '⚠ '}{info.title}{more}", info.name)
    combo.setItemData(combo.count() - 1, info.title + made_for(info, modality), Qt.ItemDataRole.ToolTipRole)


def made_for(info: ModelInfo, modality: Modality) -> str:
    """Return a line that says what a model was made for; nothing when that is the modality."""
    if modality in info.modalities:
        return ""
    return f"\n⚠ made for {', '.join(modality_word(one) for one in info.modalities)}, not for {modality_word(modality)}"


def make_card(info: ModelInfo, parent: QWidget) -> QDialog:
    """Return a dialog with a model's card: modality, data, licence, its place among the others, figures."""
    dialog = QDialog(parent)
    dialog.setObjectName("model card")
    dialog.setWindowTitle(info.title)
    facts = [
        f"**Modalities:** {', '.join(str(modality) for modality in info.modalities)}",
        f"**Licence:** {info.licence}",
        f"**Version:** {info.version}",
    ]
    text = QTextBrowser()
    text.setOpenExternalLinks(True)
    place = place_among_others(info)
    among = f"\n\n## Beside the others\n\n{place}" if place else ""
    text.setMarkdown(f"# {info.title}\n\n" + "  \n".join(facts) + f"{among}\n\n---\n\n{info.card}")
    buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
    buttons.rejected.connect(dialog.reject)
    layout = QVBoxLayout(dialog)
    layout.addWidget(text)
    layout.addWidget(buttons)
    dialog.resize(760, 600)
    dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    return dialog


def describe_segmentation(info: dict[str, Any]) -> str:
    """Say in one line what made a probability map; empty when nothing is known."""
    if not info:
        return ""
    settings = info.get("settings", {})
    version = f" {info['model_version']}" if info.get("model_version") else ""
    parts = [f"{info.get('model', 'a model')}{version}"]
    if info.get("device"):
        precision = f" ({info['precision']})" if info.get("precision") else ""
        parts.append(f"on {info['device']}{precision}")
    if info.get("channel"):
        parts.append(f"{info['channel']} channel")
    scale = settings.get("scale")
    if isinstance(scale, int | float):
        parts.append(f"working scale {scale:.2f}")
    if isinstance(info.get("seconds"), int | float):
        parts.append(f"{info['seconds']:.1f} s")
    return f"Used: {', '.join(parts)}."
