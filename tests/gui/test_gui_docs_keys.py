"""The pages that list the keys list every key, and none that does nothing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import napari_vessel
from napari_vessel.gui.keys import KEYS

ROOT = Path(napari_vessel.__file__).parent.parent
BOUND = {name.replace("Control", "Ctrl").replace("-", "+") for key in KEYS for name in key.keys}


def written(text: str) -> set[str]:
    """Return the keys in the first cells of a Markdown table's rows."""
    cells = re.findall(r"^ *\|([^|\n]+)\|", text, re.MULTILINE)
    return {key for cell in cells for key in re.findall(r"`([^`]+)`", cell)}


@pytest.mark.parametrize("page", ["docs/user-guide.md", "README.md"])
def test_the_table_of_keys_is_the_programs(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    table = re.search(r"^\| key \|.*?(?=\n\n|\Z)", text, re.MULTILINE | re.DOTALL)

    assert table is not None
    assert written(table.group()) == BOUND
