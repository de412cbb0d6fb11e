"""Reads ten thousand spoilt files, of every kind that comes from outside, and says how each ended.

    python benchmarks/fuzz.py [--count 10000] [--seed 0] [--only image,project] [--case N] [-o FILE]

Good samples are made first; each case is one of them with a few changes, decided by the seed, the parser and the number
of the case alone. It is read in a process of its own, which is replaced when it dies or hangs. Needs Linux.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from common import RESULTS, markdown_table, public_command, report_header, write_report
from fuzz_child import MEMORY, serve
from fuzz_parsers import parsers

PATIENCE_SECONDS = 60.0
"""A case that takes longer hangs. A slow machine is no fault, so this is far beyond what any takes."""

PROTOCOL = (
    "Each case is a good sample with changes: bits, cut ends, inserted lengths, swapped, repeated and missing blocks, "
    "headers that claim huge sizes, streams that unpack to far more than they are, values of the wrong kind, NaN and "
    "numbers beyond all ranges, deep nesting, paths that lead out of the folder, links and pipes in the place of "
    "files, odd names; of databases also rows, tables, triggers and views. It must be accepted or refused with a "
    f"VesselError of one sentence, within {PATIENCE_SECONDS:.0f} s and {MEMORY / 2**30:.0f} GiB of address space. An "
    "audit hook notes every file opened for writing or changed outside the case's folder, every process, connection, "
    "unpickling, loaded library and piece of code run that is not the program's own, and the folder beside it is "
    "compared before and after. Anything else is a failure, and so is a process that dies."
)


@dataclass
class Tally:
    """How the cases of one parser ended."""

    outcomes: Counter[str] = field(default_factory=Counter)
    failures: list[dict[str, Any]] = field(default_factory=list)
    longest: float = 0.0

    def add(self, number: int, outcome: str, told: str, seconds: float) -> None:
        """Count one case."""
        self.longest = max(self.longest, seconds)
        if outcome in ("accepted", "refused"):
            self.outcomes[outcome] += 1
        else:
            self.outcomes["failed"] += 1
            self.failures.append({"case": number, "outcome": outcome, "told": told})


class Child:
    """The process that reads, started anew when it is lost.

    Parameters
    ----------
    samples, work : Path
        Good samples, and where cases are made.
    seed : int
        Of all cases.
    patience : float
        Seconds after which a case hangs.
    serve : callable
        What runs in the process.
    """

    def __init__(
        self,
        samples: Path,
        work: Path,
        seed: int,
        patience: float = PATIENCE_SECONDS,
        serve: Callable[..., None] = serve,
    ) -> None:
        self._serve = serve
        self._given = (samples, work, seed)
        self._patience = patience
        self._count = 0
        self._process: BaseProcess | None = None
        self._pipe: Connection | None = None

    def read(self, parser: str, number: int) -> tuple[str, str, float]:
        """Have one case read; return how it ended, what was said, and how long it took."""
        pipe = self._pipe or self._start()
        pipe.send((parser, number))
        try:
            if pipe.poll(self._patience):
                found: tuple[str, str, float] = pipe.recv()
                return found
            self.stop()
            return "hang", f"more than {self._patience:.0f} s", self._patience
        except (EOFError, ConnectionError):
            process = self._process
            if process is not None:
                process.join(10)
            code = None if process is None else process.exitcode
            self.stop()
            return "crash", f"the process ended with {code}", 0.0

    def stop(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
        self._process = self._pipe = None

    def _start(self) -> Connection:
        samples, work, seed = self._given
        self._count += 1
        # Not forked: a reader with another's threads and locks would not be what a user has.
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        folder = work / str(self._count)
        self._process = context.Process(target=self._serve, args=(theirs, samples, folder, seed), daemon=True)
        self._process.start()
        theirs.close()
        if not self._pipe.poll(10 * PATIENCE_SECONDS):
            raise RuntimeError("The reading process did not start.")
        self._pipe.recv()
        return self._pipe


def shares(count: int, only: Sequence[str]) -> dict[str, int]:
    """Return how many cases each parser gets of so many in all, by its share."""
    chosen = {name: parser.share for name, parser in parsers().items() if name in only}
    total, given, found = sum(chosen.values()), 0, {}
    for name, share in chosen.items():
        found[name] = round(count * (given + share) / total) - round(count * given / total)
        given += share
    return found


def fuzz(
    count: int, seed: int, only: Sequence[str], work: Path, case: int | None = None, patience: float = PATIENCE_SECONDS
) -> dict[str, Tally]:
    """Read spoilt files.

    Parameters
    ----------
    count : int
        How many in all.
    seed : int
        Decides what is done to them.
    only : sequence of str
        Names of the parsers.
    work : Path
        An empty folder.
    case : int, optional
        Read the case of this number alone, of each parser.
    patience : float
        Seconds after which a case hangs.

    Returns
    -------
    dict of str to Tally
        By parser.
    """
    samples = work / "samples"
    for name in only:
        (samples / name).mkdir(parents=True)
        parsers()[name].make(samples / name)
    found = {name: Tally() for name in only}
    child = Child(samples, work, seed, patience)
    try:
        for name, number in _cases(shares(count, only), case):
            found[name].add(number, *child.read(name, number))
    finally:
        child.stop()
    return found


def _cases(wanted: dict[str, int], case: int | None) -> Iterator[tuple[str, int]]:
    for name, many in wanted.items():
        yield from ((name, number) for number in (range(many) if case is None else [case]))


def body(found: dict[str, Tally]) -> str:
    """Return the tables, Markdown."""
    rows: list[list[object]] = [
        [name, sum(t.outcomes.values()), t.outcomes["accepted"], t.outcomes["refused"], t.outcomes["failed"]]
        for name, t in found.items()
    ]
    rows.append(["all", *(sum(int(str(row[k])) for row in rows) for k in range(1, 5))])
    text = markdown_table(["parser", "cases", "accepted", "refused in a sentence", "failures"], rows)
    failures = [
        [name, f["case"], f["outcome"], f["told"]] for name, tally in found.items() for f in tally.failures[:20]
    ]
    return text + ("\n\n" + markdown_table(["parser", "case", "outcome", "where"], failures) if failures else "")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; 1 when anything failed."""
    names = list(parsers())
    parser = argparse.ArgumentParser(prog="fuzz.py", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default=",".join(names), metavar="PARSER,...", help=", ".join(names))
    parser.add_argument("--case", type=int, default=None, help="one case alone, to look at it again")
    parser.add_argument("--patience", type=float, default=PATIENCE_SECONDS, help="seconds after which a case hangs")
    parser.add_argument("-o", "--out", type=Path, default=RESULTS / "fuzz.json")
    options = parser.parse_args(arguments)
    only = options.only.split(",")
    if unknown := [name for name in only if name not in names]:
        parser.error(f"there is no parser {unknown[0]}; known are {', '.join(names)}")
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        found = fuzz(options.count, options.seed, only, Path(folder).resolve(), options.case, options.patience)
    if options.case is None:
        results = {
            name: {**t.outcomes, "longest_seconds": round(t.longest, 2), "failures": t.failures}
            for name, t in found.items()
        }
        report = {**report_header(public_command(parser, options), PROTOCOL), "results": results}
        write_report(options.out, "Spoilt files", report, body(found))
    print(body(found), f"\n{time.perf_counter() - start:.0f} s")
    return int(any(tally.failures for tally in found.values()))


if __name__ == "__main__":
    sys.exit(main())
