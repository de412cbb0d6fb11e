"""One HTML file that needs nothing else: text that is always escaped, tables, and pictures inside the file.

The page allows itself no script and no network, so that nothing written in a project can run, whatever it is.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

STYLE = """
:root { --ink: #1b1b1f; --soft: #55555f; --line: #d9d9e0; --pale: #f4f4f7 }
* { box-sizing: border-box }
body { font: 15px/1.5 system-ui, "Segoe UI", "Helvetica Neue", Arial, sans-serif; margin: 2rem auto;
  max-width: 68rem; padding: 0 1.25rem; color: var(--ink); background: #fff }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .25rem }
h2 { font-size: 1.25rem; margin: 2.2rem 0 .6rem; padding-top: .6rem; border-top: 2px solid var(--ink) }
h3 { font-size: 1rem; margin: 1.2rem 0 .4rem }
p { margin: .4rem 0 } .soft, figcaption { color: var(--soft); font-size: .9rem }
table { border-collapse: collapse; width: 100%; margin: .5rem 0; font-variant-numeric: tabular-nums }
th, td { padding: .28rem .55rem; text-align: right; vertical-align: top }
th { border-bottom: 2px solid #55555f; font-weight: 600; vertical-align: bottom }
td { border-bottom: 1px solid var(--line) }
th:first-child, td:first-child, .words th, .words td, .second :nth-child(2) { text-align: left }
td:first-child { min-width: 7em } td:first-child, .words td { overflow-wrap: anywhere }
figure { margin: .8rem 0 } img { max-width: 100%; height: auto; display: block; border: 1px solid #999 }
figcaption { margin-top: .25rem }
.beside { display: grid; grid-template-columns: repeat(auto-fit, minmax(17rem, 1fr)); gap: .9rem }
.close { display: grid; grid-template-columns: repeat(auto-fit, minmax(24rem, 1fr)); gap: .9rem }
.close figure { margin: 0 }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); gap: .7rem; margin: 1rem 0;
  padding: 0; list-style: none }
.facts li { background: var(--pale); padding: .6rem .8rem; border-radius: 4px }
.facts b { display: block; font-size: 1.35rem; line-height: 1.25 }
.key { display: inline-block; width: .95em; height: .95em; margin: 0 .3em -.1em .8em; border: 1px solid #555 }
.note { background: #fff7df; border-left: 4px solid #c98a00; padding: .4rem .8rem }
a { color: #0b5cad }
@page { size: A4; margin: 14mm }
@media print {
  body { font-size: 9.5pt; margin: 0; max-width: none; padding: 0 }
  * { -webkit-print-color-adjust: exact; print-color-adjust: exact }
  h2, h3 { break-after: avoid } figure, tr, .facts, .together, table.short { break-inside: avoid }
  .sheet { break-before: page } thead { display: table-header-group }
  .beside { grid-template-columns: repeat(3, 1fr); gap: 3mm }
  .close { grid-template-columns: repeat(2, 1fr); gap: 3mm } .facts { grid-template-columns: repeat(4, 1fr) }
  a { color: inherit; text-decoration: none } .screen { display: none }
}
"""

POLICY = "default-src 'none'; img-src data: 'self' file:; style-src 'unsafe-inline'; base-uri 'none'"


@dataclass(frozen=True, slots=True)
class Markup:
    """Text that is HTML already, made by this module's functions."""

    html: str


Content = str | Markup | int | None


def text(value: Content) -> str:
    """Return anything as HTML: what is no :class:`Markup` is escaped, quotes too; None is nothing."""
    if isinstance(value, Markup):
        return value.html
    return "" if value is None else html.escape(str(value), quote=True)


def page(title: str, body: Iterable[Markup], generator: str) -> str:
    """Return a whole page.

    Parameters
    ----------
    title : str
        For the window and the heading of the browser's tab.
    body : iterable of Markup
        What is on it.
    generator : str
        What made it, by which the program knows its own pages.
    """
    inside = "\n".join(part.html for part in body)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n<meta name="generator" content="'
        f'{text(generator)}">\n<meta http-equiv="Content-Security-Policy" content="{text(POLICY)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{text(title)}</title><style>{STYLE}</style></head>\n<body>\n{inside}\n</body></html>\n"
    )


def element(name: str, *inside: Content, **attributes: str) -> Markup:
    """Return an element; ``class_`` is the attribute ``class``."""
    given = "".join(f' {key.rstrip("_")}="{text(value)}"' for key, value in attributes.items())
    return Markup(f"<{name}{given}>{''.join(text(part) for part in inside)}</{name}>")


def paragraph(*inside: Content, soft: bool = False) -> Markup:
    """Return a paragraph, in grey and smaller when it is `soft`."""
    return element("p", *inside, class_="soft") if soft else element("p", *inside)


def table(header: Sequence[Content], rows: Iterable[Sequence[Content]], kind: str = "") -> Markup:
    """Return a table of figures.

    Parameters
    ----------
    header : sequence
        Titles of the columns.
    rows : iterable of sequence
        Cells; the first of each row is a name.
    kind : str
        ``words`` where all cells are; ``second`` where the second column is; ``short`` for one that stays on a page.
    """
    head = "".join(f"<th>{text(cell)}</th>" for cell in header)
    lines = "\n".join(f"<tr>{''.join(f'<td>{text(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return Markup(f'<table class="{text(kind)}">\n<thead><tr>{head}</tr></thead>\n<tbody>\n{lines}\n</tbody></table>')


def figure(source: str, caption: str) -> Markup:
    """Return a picture with its caption.

    Parameters
    ----------
    source : str
        File beside the page, or what :func:`embedded` returned.
    caption : str
        Below it, and for who cannot see it.
    """
    return Markup(
        f'<figure><img src="{text(source)}" alt="{text(caption)}"><figcaption>{text(caption)}</figcaption></figure>'
    )


def embedded(jpeg: bytes) -> str:
    """Return a JPEG as the source of a picture inside the page."""
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode('ascii')}"
