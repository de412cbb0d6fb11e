"""Plain values as TOML, for what is read again: the standard library reads TOML and does not write it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def to_toml(values: Mapping[str, Any]) -> str:
    """Return a table of texts, numbers, truth values, lists and tables as TOML.

    Parameters
    ----------
    values : mapping of str to Any
        A list holds plain values alone, or tables alone. Names are letters, digits, ``_`` and ``-``.
    """
    return "\n".join(_lines(values, "")) + "\n"


def _lines(values: Mapping[str, Any], place: str) -> list[str]:
    # Plain values first: whatever follows the head of a table is in it.
    lines = [f"{name} = {_value(value)}" for name, value in values.items() if not _tables(value)]
    for name, value in values.items():
        head = f"{place}{name}"
        if isinstance(value, Mapping):
            lines += ["", f"[{head}]", *_lines(value, f"{head}.")]
        elif _tables(value):
            for one in value:
                lines += ["", f"[[{head}]]", *_lines(one, f"{head}.")]
    return lines


def _tables(value: Any) -> bool:
    """Whether a value is a table, or a list of some."""
    return isinstance(value, Mapping) or (isinstance(value, list) and bool(value) and isinstance(value[0], Mapping))


def _value(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, str):
        # TOML takes JSON's escapes, but for a lone character that JSON leaves as it is.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return json.dumps(value)
