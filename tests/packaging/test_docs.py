"""The Markdown files tell the truth where a machine can tell: links, pictures, command lines, names of buttons."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer.main

import napari_vessel
from napari_vessel.cli import app

PACKAGE = Path(napari_vessel.__file__).parent
ROOT = PACKAGE.parent
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("models/**/*.md"), *ROOT.glob("benchmarks/*.md")]
)
OURS = re.compile(
    r"https://(?:raw\.githubusercontent\.com/napari-vessel/napari-vessel/main"
    r"|github\.com/napari-vessel/napari-vessel/(?:blob|tree)/main)/"
)
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
COMMAND = re.compile(r"(?:^ {4}|`)(napari-vessel(?: [^`\n]+)?)", re.MULTILINE)
# A line of a synopsis, with a choice or an optional part, is no line to type.
SYNOPSIS = re.compile(r"[\[\]|]|\.\.\.")


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def names(paths: list[Path]) -> list[str]:
    return [path.relative_to(ROOT).as_posix() for path in paths]


def links(page: Path) -> list[str]:
    return LINK.findall(FENCE.sub("", text_of(page)))


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", text_of(page)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def target_of(page: Path, link: str) -> tuple[Path | None, str]:
    """Return the file a link points at, None for one of somebody else, and the heading in it."""
    place, _, anchor = link.partition("#")
    own = OURS.match(place)
    if own:
        return ROOT / place[own.end() :], anchor
    if re.match(r"[a-z]+:", place):
        return None, anchor
    return (page.parent / place if place else page), anchor


def command_lines() -> list[tuple[str, str]]:
    found = [(page, line.strip()) for page in PAGES for line in COMMAND.findall(text_of(page))]
    return sorted({(page.name, line) for page, line in found if line != "napari-vessel"})


def resolve(words: list[str]) -> tuple[Any, list[str]]:
    """Return the command that `words` name, and the words left for it."""
    command = typer.main.get_command(app)
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        assert words[0] in command.commands, f"there is no command {words[0]!r}"
        command, words = command.commands[words[0]], words[1:]
    return command, words


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_every_link_within_the_repository_leads_somewhere(page: Path) -> None:
    for link in links(page):
        target, anchor = target_of(page, link)
        if target is None:
            continue
        assert target.exists(), link
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), link


def test_every_picture_is_shown_somewhere() -> None:
    shown = {target_of(page, link)[0] for page in PAGES for link in links(page)}
    shown_files = {path.resolve() for path in shown if path is not None}

    pictures = sorted((ROOT / "docs" / "images").glob("*.png"))

    assert pictures
    for picture in pictures:
        assert picture.resolve() in shown_files, picture.name
        assert picture.stat().st_size <= 250_000, picture.name


def test_the_readme_has_only_absolute_links() -> None:
    """The hub and PyPI show the README without the repository around it."""
    relative = [link for link in links(ROOT / "README.md") if not re.match(r"https://|#", link)]

    assert relative == []


@pytest.mark.parametrize(("page", "line"), command_lines())
def test_command_lines_are_understood(page: str, line: str) -> None:
    if SYNOPSIS.search(line):
        verbs = line.split()[1:]
        # project create|add|status DIR: every choice is a command of its own.
        spread = next((n for n, word in enumerate(verbs) if re.fullmatch(r"[a-z]+(\|[a-z]+)+", word)), None)
        lines = [verbs]
        if spread is not None:
            lines = [[*verbs[:spread], choice, *verbs[spread + 1 :]] for choice in verbs[spread].split("|")]
        options: set[str] = set()
        for words in lines:
            command, _ = resolve([w for w in words if not w.startswith("[")])
            options |= {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
        for option in re.findall(r"(?<![\w-])--?[a-z][a-z-]*", line):
            assert option in options, f"{page}: {option}"
    else:
        command, words = resolve(shlex.split(line)[1:])
        if not hasattr(command, "commands"):
            command.make_context("napari-vessel", words)


def test_the_buttons_that_the_user_guide_names_exist() -> None:
    sources = "\n".join(path.read_text(encoding="utf-8") for path in sorted((PACKAGE / "gui").glob("*.py")))
    shown = sources.replace("&", "").lower()
    # "**Repaint.**" begins a paragraph; anything else in bold is a text of the window.
    bold = [text for text in re.findall(r"\*\*(.+?)\*\*", text_of(ROOT / "docs" / "user-guide.md")) if text[-1] != "."]

    assert bold
    for text in bold:
        assert text.lower() in shown, text


def test_the_messages_that_the_user_guide_explains_exist() -> None:
    sources = "\n".join(path.read_text(encoding="utf-8") for path in sorted(PACKAGE.rglob("*.py")))
    # Neighbouring string literals are one sentence.
    said = re.sub(r'"\s*\n\s*f?"', "", sources)
    section = (
        text_of(ROOT / "docs" / "user-guide.md").partition("## When something is refused")[2].partition("\n## ")[0]
    )
    rows = re.findall(r"^\| (?!the message says|---)(.+?) \|", section, re.MULTILINE)

    assert rows
    for row in rows:
        # What varies: names, sizes, devices.
        fixed = [part.strip(" ,") for part in re.split(r"…|\d+(?: x \d+)?|'[^']*'", row)]
        for part in fixed:
            assert part in said, f"{row}: {part!r}"
