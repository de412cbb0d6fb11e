"""What fuzz.py does to good files: to their bytes, and to the values in them where their format is known."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import sqlite3
import struct
import zlib
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from napari_vessel.review.schema import APPLICATION_ID

NUMBERS = (-1, 0, 1, 2, 15, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1)
LONG = "x" * 200_000
TEXTS = (
    *("", " ", "\0", "\n\n", "nan", "NaN", "-inf", "1e400", "\u202egnp.exe", "é\u0301", "\ud800", "🩸" * 50, "%s%n{0}"),
    *("../outside/canary.txt", "..\\..\\outside", "/dev/zero", "/proc/self/mem", "CON", "~", "-rf", "a/../../b"),
    *("<script>alert(1)</script>", "'; DROP TABLE images; --", "${HOME}", "__import__('os').system('id')"),
)
NAMES = ("bild\u202egnp", "a\nb", "é\u0301", "🩸🩸", "-rf", "x" * 200, "%s%n", " lead", "..", "a'b\"c", "\x07")


def odd_value(rng: random.Random, outside: Path) -> Any:
    """Return a value that nobody expects where it will stand."""
    deep: Any = []
    for _ in range(rng.choice((50, 900))):
        deep = [deep] if rng.random() < 0.9 else {"a": deep}
    kinds = (
        lambda: rng.choice(NUMBERS),
        lambda: rng.choice((2**64, -(2**70), 10**400, 1e308, -1e-320, 0.5, float("nan"), float("inf"), -float("inf"))),
        lambda: rng.choice((None, True, False, [], {}, [[]], [None], {"": None})),
        lambda: rng.choice(TEXTS),
        lambda: rng.choice(
            (str(outside / "canary.txt"), str(outside / "new"), "../" * rng.randrange(1, 9) + "outside")
        ),
        lambda: rng.choice((LONG, [0] * 5000, {str(n): n for n in range(500)}, deep)),
    )
    return rng.choice(kinds)()


def mutate_bytes(rng: random.Random, data: bytes) -> bytes:
    """Flip, cut, insert, swap, repeat, blank: one to six times."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        size = len(changed)
        # Headers decide most, and are found at either end.
        at = min(
            size, rng.choice((rng.randrange(size + 1), rng.randrange(64), size - rng.randrange(min(size, 64) + 1)))
        )
        length = min(rng.choice((1, 2, 4, 8, 64, 1024)), max(size - at, 0))
        what = rng.randrange(9)
        if what == 0 and at < size:
            changed[at] ^= 1 << rng.randrange(8)
        elif what == 1 and at < size:
            changed[at] = rng.choice((0, 1, 127, 128, 255))
        elif what == 2:
            del changed[at:]
        elif what == 3:
            number, code = rng.choice(NUMBERS), rng.choice(("<H", ">H", "<I", ">I", "<Q", ">Q"))
            value = struct.pack(code, number & ((1 << 8 * struct.calcsize(code)) - 1))
            changed[at : at + (len(value) if rng.random() < 0.8 else 0)] = value
        elif what == 4:
            other = rng.randrange(size + 1)
            one, two = changed[at : at + length], changed[other : other + length]
            changed[other : other + length] = one
            changed[at : at + length] = two
        elif what == 5:
            changed[at:at] = changed[at : at + length] * rng.choice((1, 50))
        elif what == 6:
            changed[at : at + length] = bytes(length)
        elif what == 7:
            del changed[at : at + length]
        else:
            changed += rng.randbytes(rng.choice((1, 100, 5000)))
    return bytes(changed)


def mutate_png(rng: random.Random, data: bytes) -> bytes:
    """Change a PNG's chunks and make their checksums right again; some claim a huge size, or hold a bomb."""
    at, chunks = 8, []
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    what = rng.randrange(6)
    if what <= 1:
        head = bytearray(chunks[0][1])
        width, height = (rng.choice((1, 16, 20_000, 20_001, 65_535, 2**31 - 1)) for _ in "yx")
        head[:8] = struct.pack(">II", width, height)
        if what and rng.random() < 0.5:
            head[rng.randrange(8, 13)] = rng.choice((0, 1, 2, 3, 4, 6, 8, 16, 255))
        chunks[0] = (chunks[0][0], bytes(head))
        if rng.random() < 0.4:
            chunks = [c if c[0] != b"IDAT" else (b"IDAT", zlib.compress(bytes(5_000_000), 9)) for c in chunks]
    elif what == 2:
        bomb = zlib.compress(bytes(60_000_000), 9)
        chunks.insert(1, rng.choice(((b"zTXt", b"a\0\0" + bomb), (b"iCCP", b"a\0\0" + bomb), (b"eXIf", bytes(99_999)))))
    elif what == 3:
        rng.shuffle(chunks)
    elif what == 4:
        chunks = [c for c in chunks for _ in range(rng.choice((0, 1, 1, 2)))]
    else:
        k = rng.randrange(len(chunks))
        chunks[k] = (chunks[k][0], mutate_bytes(rng, chunks[k][1]))
    return data[:8] + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )


def mutate_tiff(rng: random.Random, data: bytes) -> bytes:
    """Change entries of a TIFF's first directory, loop its directories, or write nonsense into its XML."""
    changed = bytearray(data)
    if data[:4] != b"II*\0":
        return mutate_bytes(rng, data)
    first = int.from_bytes(data[4:8], "little")
    count = int.from_bytes(data[first : first + 2], "little")
    what = rng.randrange(5)
    if what == 0:
        after = first + 2 + 12 * count
        changed[after : after + 4] = struct.pack("<I", rng.choice((first, 8, 2**32 - 1, len(data) - 2)))
    elif what == 1 and b"<OME" in data:
        text = re.search(rb"<OME.*</OME>", data, re.DOTALL)
        numbers = list(re.finditer(rb'"[0-9.]+"', text[0])) if text else []
        if text and numbers:
            spot = rng.choice(numbers)
            value = rng.choice((b"nan", b"-1", b"1e999", b"999999999", b"0", b"&a;", b"<x>", b"../x"))
            start = text.start() + spot.start() + 1
            value = value[: spot.end() - spot.start() - 2].ljust(spot.end() - spot.start() - 2)
            changed[start : start + len(value)] = value
    else:
        for _ in range(rng.choice((1, 1, 2, 4))):
            entry = first + 2 + 12 * rng.randrange(max(count, 1))
            field, code = rng.choice(((0, "<H"), (2, "<H"), (4, "<I"), (8, "<I"), (8, "<I")))
            number = rng.choice((*NUMBERS, 257, 258, 277, 20_000)) & ((1 << 8 * struct.calcsize(code)) - 1)
            changed[entry + field : entry + field + struct.calcsize(code)] = struct.pack(code, number)
    return bytes(changed)


def mutate_value(rng: random.Random, value: Any, outside: Path) -> Any:
    """Change one to three places in what JSON holds."""
    for _ in range(rng.choice((1, 1, 2, 3))):
        value = _mutate_one(rng, value, outside)
    return value


def _mutate_one(rng: random.Random, value: Any, outside: Path) -> Any:
    if not isinstance(value, (dict, list)) or not value or rng.random() < 0.08:
        return odd_value(rng, outside)
    keys = list(value) if isinstance(value, dict) else range(len(value))
    key = rng.choice(keys)
    if rng.random() < 0.7:
        changed: Any = dict(value) if isinstance(value, dict) else list(value)
        changed[key] = _mutate_one(rng, value[key], outside)
        return changed
    if isinstance(value, list):
        return [*value[:key], *value[key + 1 :]] if rng.random() < 0.5 else value * rng.choice((2, 40))
    changed = {k: v for k, v in value.items() if k != key}
    return changed if rng.random() < 0.6 else {**changed, rng.choice(TEXTS): value[key]}


def mutate_json(rng: random.Random, data: bytes, outside: Path) -> bytes:
    """Change values, then perhaps the text; some are nested a hundred thousand deep."""
    if rng.random() < 0.04:
        deep = rng.choice(("[", '{"a":'))
        return (deep * 100_000).encode()
    if rng.random() < 0.15:
        return mutate_bytes(rng, data)
    try:
        known = json.loads(data)
    except (ValueError, RecursionError):
        return mutate_bytes(rng, data)
    text = json.dumps(mutate_value(rng, known, outside))
    if rng.random() < 0.05:
        text = text.replace(":", ":" + rng.choice(("[" * 5000, "1" * 5000 + ",", "1e" + "9" * 50 + ",")), 1)
    return text.encode("utf-8", "surrogatepass")


def mutate_toml(rng: random.Random, data: bytes, outside: Path) -> bytes:
    """Change, repeat, drop and add lines of a TOML file, or its bytes."""
    if rng.random() < 0.2:
        return mutate_bytes(rng, data)
    lines = data.decode().splitlines()
    for _ in range(rng.choice((1, 1, 2, 4))):
        k = rng.randrange(len(lines))
        key = lines[k].partition("=")[0] if "=" in lines[k] else "extra "
        told = (
            *(
                "nan",
                "inf",
                "-inf",
                "1e999",
                "9" * 5000,
                "-1",
                "0",
                "true",
                "[]",
                "{}",
                '""',
                "1979-05-27",
                "[[[[1]]]]",
            ),
            *("[" * 2000, "[" * 300 + "]" * 300, "{a=" * 500 + "1" + "}" * 500, f'"{LONG}"', "0x" + "f" * 400, "'''"),
            *(f'"{outside}"', '"../../outside"', '"\\u0000"', '"\\U0010FFFF"', '"a"\n[x]\ny=1', ".1", "+-1", "a.b.c"),
        )
        what = rng.randrange(5)
        if what <= 2:
            lines[k] = f"{key}= {rng.choice(told)}"
        elif what == 3:
            lines.insert(rng.randrange(len(lines) + 1), lines[k])
        else:
            lines[k] = rng.choice(("", "[data]", "[[loss]]", "[a." * 400, "= 1", "\ufeff", '"".x = 1', "[network.x]"))
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def mutate_csv(rng: random.Random, data: bytes, outside: Path) -> bytes:
    """Change cells of a CSV file, its delimiters and quotes, or its bytes."""
    if rng.random() < 0.25:
        return mutate_bytes(rng, data)
    rows = [line.split(",") for line in data.decode().splitlines()]
    for _ in range(rng.choice((1, 1, 2, 4))):
        row = rng.choice(rows)
        cell = rng.choice((*TEXTS, LONG, '"', '"a\nb', "a;b", str(outside / "canary.txt"), ".", "probability", "truth"))
        row[rng.randrange(len(row))] = cell
        if rng.random() < 0.2:
            rows.append(list(rng.choice(rows)))
    text = "\n".join(rng.choice((",", ",", ",", ";", "\t")).join(row) for row in rows)
    return text.encode(rng.choice(("utf-8", "utf-8", "utf-8-sig", "utf-16")), "surrogatepass")


def mutate_safetensors(rng: random.Random, data: bytes, outside: Path) -> bytes:
    """Change the header of a safetensors file, with its length told right or wrong, or its bytes."""
    if rng.random() < 0.4:
        return mutate_bytes(rng, data)
    size = int.from_bytes(data[:8], "little")
    head = mutate_json(rng, data[8 : 8 + size], outside)
    length = len(head) if rng.random() < 0.8 else rng.choice(NUMBERS) % 2**64
    return struct.pack("<Q", length) + head + data[8 + size :]


SCHEMES = (
    "DROP TABLE {t}",
    "DELETE FROM {t}",
    "ALTER TABLE {t} RENAME TO other",
    "ALTER TABLE {t} ADD COLUMN extra TEXT DEFAULT 'x'",
    "ALTER TABLE {t} RENAME COLUMN {c} TO extra",
    "CREATE TRIGGER tr AFTER INSERT ON edits BEGIN DELETE FROM verdicts; END",
    "CREATE TRIGGER tr AFTER UPDATE ON images BEGIN UPDATE images SET name = '../x'; END",
    "CREATE INDEX strange ON {t}(randomblob(1))",
    "PRAGMA user_version=0",
    "PRAGMA user_version=1",
    "PRAGMA user_version=3",
    "PRAGMA user_version=99",
    "PRAGMA application_id=1",
    "PRAGMA journal_mode=WAL",
    "PRAGMA foreign_keys=OFF; UPDATE {t} SET {c} = NULL",
)
"""Statements that change what a database is; {t} is a table and {c} one of its columns."""

ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT {columns} FROM n"


def mutate_database(rng: random.Random, path: Path, outside: Path) -> None:
    """Change values, rows, tables or pages of an SQLite database in place."""
    with closing(sqlite3.connect(path, isolation_level=None)) as base, suppress(sqlite3.Error, OverflowError):
        names = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY name"
        tables = [row[0] for row in base.execute(names)]
        filled = [t for t in tables if base.execute(f"SELECT COUNT(*) FROM {t}").fetchone()[0]]
        kind = rng.random()
        if kind < 0.72:
            for _ in range(rng.choice((1, 1, 2, 4))):
                _mutate_row(rng, base, rng.choice((*filled, "images", "edits", "mask_edits")), outside)
        elif kind < 0.84:
            table = rng.choice(tables)
            column = rng.choice([row[1] for row in base.execute(f"PRAGMA table_info({table})")])
            base.executescript(rng.choice(SCHEMES).format(t=table, c=column))
        elif kind < 0.87:
            # A table that is a question without an end.
            table = rng.choice(("images", "meta", "edits", "current_versions"))
            columns = [row[1] for row in base.execute(f"PRAGMA table_info({table})")]
            endless = ENDLESS.format(columns=", ".join(f"x AS {column}" for column in columns))
            base.executescript(f"PRAGMA foreign_keys=OFF; DROP TABLE {table}; CREATE VIEW {table} AS {endless}")
    if not 0.72 <= kind < 0.87 and (kind > 0.87 or rng.random() < 0.1):
        path.write_bytes(mutate_bytes(rng, path.read_bytes()))
        if rng.random() < 0.3:
            with path.open("r+b") as file:
                file.seek(60)
                file.write(struct.pack(">II", rng.choice((0, 1, 2, 3, 4, 5)), 0) + APPLICATION_ID.to_bytes(4, "big"))


def _mutate_row(rng: random.Random, base: sqlite3.Connection, table: str, outside: Path) -> None:
    columns = [row[1] for row in base.execute(f"PRAGMA table_info({table})")]
    rows = [row[0] for row in base.execute(f"SELECT rowid FROM {table} ORDER BY rowid")]
    if not rows:
        return
    column, row = rng.choice(columns), rng.choice(rows)
    if rng.random() < 0.06:
        base.execute(f"DELETE FROM {table} WHERE rowid = ?", (row,))
        return
    old = base.execute(f"SELECT {column} FROM {table} WHERE rowid = ?", (row,)).fetchone()[0]
    new: Any = odd_value(rng, outside)
    if isinstance(old, bytes) and rng.random() < 0.8:
        new = rng.choice((mutate_bytes(rng, old), zlib.compress(bytes(80_000_000), 9), old[: len(old) // 2]))
    elif isinstance(old, str) and old[:1] in "[{" and rng.random() < 0.8:
        new = mutate_json(rng, old.encode(), outside).decode("utf-8", "replace")
    elif isinstance(old, int) and rng.random() < 0.6:
        new = rng.choice((old + 1, -old, *NUMBERS))
    if isinstance(new, (dict, list)):
        new = json.dumps(new)
    if isinstance(new, str):
        new = new.encode("utf-8", "surrogatepass")
        base.execute(f"UPDATE {table} SET {column} = CAST(? AS TEXT) WHERE rowid = ?", (new, row))
    else:
        base.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (new, row))


def set_trap(rng: random.Random, folder: Path, outside: Path, names: tuple[str, ...]) -> None:
    """Put a link out of a folder, a folder or a pipe in the place of something that will be opened."""
    name = rng.choice(names)
    path = folder / name
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    there = outside / rng.choice(("canary.txt", "new", "folder", "database.sqlite"))
    kind = rng.random()
    if kind < 0.15:
        path.mkdir()
    elif kind < 0.3:
        os.mkfifo(path)
    else:
        path.symlink_to(rng.choice((there, there, there, Path("/dev/zero"), path)))
