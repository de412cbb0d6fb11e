"""Fine-tuning: what corrected images are worth, what the gate makes of them, how long it takes, what a window feels.

    python benchmarks/finetune.py [--parts transfer,work,gate,time,stalls] [--rossa DIR] [--octa-500 DIR]
        [--two-photon DIR] [--xray] [--drive DIR] [--chase-db1 DIR] [--hrf DIR] [--arms ...] [--counts 1,3,5,10]
        [--draws 0,1,2] [--steps N] [--scratch-steps N] [--rehearsal N] [--test-images N] [--report]

*transfer*: from a shipped fundus model with a few corrected images of another kind. *work*: corrections made by the
simulated annotator of the effort benchmark, in sessions of a project. *gate*: real and spoilt corrections. *time*: five
corrected images to a decision, by parts. *stalls*: standstills of the window meanwhile; it needs a screen or Xvfb. Test
images of the fundus sets are the base domain. Every single run is kept in runs/finetune/ as JSON, and goes on where it
was stopped; ``--report`` makes the tables of what is there. Parts that are not asked for stay in the report as they
are.
``--two-photon`` takes a folder that ``two_photon.py`` made; ``--xray`` makes its own.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import finetune_gate as gate
import finetune_stalls as stalls
import finetune_transfer as transfer
import finetune_work as work
from common import RESULTS, decimal, public_command, report_header, write_report
from contenders import model_key
from fewshot import TWO_PHOTON
from finetune_runs import ARMS, MOST, TUNED, XRAY, Budget, cases_of, mean_of, started

from napari_vessel.gui.launch import has_screen
from napari_vessel.training.cases import CaseFiles, find_cases
from napari_vessel.training.datasets import DATA_SETS
from napari_vessel.training.finetuning.settings import IMAGES as REHEARSAL
from napari_vessel.training.finetuning.settings import STEPS

PARTS = ("transfer", "work", "gate", "time", "stalls")
TARGETS = ("rossa", "octa-500", TWO_PHOTON, XRAY)
BASES = ("drive", "chase_db1", "hrf")


def make_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for key in (*TARGETS, *BASES):
        if key != XRAY:
            title = "the folder two_photon.py made" if key == TWO_PHOTON else DATA_SETS[key].title
            parser.add_argument(f"--{key.replace('_', '-')}", type=Path, metavar="DIR", help=title)
    parser.add_argument("--xray", action="store_true", help="synthetic angiograms, too")
    parser.add_argument("--parts", default=",".join(PARTS), help="separated by commas")
    parser.add_argument("--only", default="", help="transfer to these of the sets given, separated by commas")
    parser.add_argument("--arms", default=",".join(ARMS), help="of the transfer, separated by commas")
    parser.add_argument("--counts", default="1,3,5,10", help="of corrected images, separated by commas")
    parser.add_argument("--draws", default="0,1,2", help="separated by commas")
    parser.add_argument("--steps", type=int, default=STEPS, help="of every fine-tuning")
    parser.add_argument("--scratch-steps", type=int, default=1500, help="of every network of random weights")
    parser.add_argument("--rehearsal", type=int, default=REHEARSAL, help="synthetic images to rehearse")
    parser.add_argument("--test-images", type=int, default=20, help="of each set, at most so many, evenly spaced")
    parser.add_argument("--base-images", type=int, default=5, help="of each fundus set, at most so many, evenly spaced")
    parser.add_argument("--work-set", default="drive", help="the set that is worked on")
    parser.add_argument("--work-images", default="5,25", help="in the project, separated by commas")
    parser.add_argument("--gate-sets", default="drive,rossa", help="whose images the gate is shown")
    parser.add_argument("--cases", default=",".join(gate.CASES), help="of the gate, separated by commas")
    parser.add_argument("--time-steps", type=int, default=STEPS, help="of the run whose time is taken")
    parser.add_argument("--stall-steps", type=int, default=60, help="of the run whose standstills are looked at")
    parser.add_argument("--start", default="fundus-small", metavar="NAME|FOLDER", help="the model to begin with")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--report", action="store_true", help="train nothing; make the tables of what is there")
    parser.add_argument("--fresh", action="store_true", help="make every run again")
    parser.add_argument("-o", "--out", type=Path, default=RESULTS / "finetune.json")
    return parser


class Benchmark:
    """The parts that were asked for, on the sets that were given.

    Parameters
    ----------
    parser : ArgumentParser
        The command line.
    options : Namespace
        What was asked for.
    """

    def __init__(self, parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
        self._parser, self._options = parser, options
        self._start = started(options.start)
        self._how = (self._start, options.device, not options.report, options.fresh)
        self._cases: dict[str, list[CaseFiles]] = {}
        self.results: dict[str, list[dict[str, Any]]] = {part: [] for part in PARTS}
        self._commands, self._starts = self._take_over(options.parts.split(","))

    def _take_over(self, wanted: Sequence[str]) -> tuple[dict[str, str], dict[str, Any]]:
        """Take the parts that are not wanted from the report that is there; return command and start of each."""
        out: Path = self._options.out
        found = json.loads(out.read_text(encoding="utf-8")) if out.is_file() else {"results": {}}
        kept = {part: rows for part, rows in found["results"].items() if part not in wanted and rows}
        self.results |= kept
        commands, starts = found.get("commands", {}), found.get("starts", {})
        return (
            {part: commands.get(part, found["command"]) for part in kept},
            {part: starts.get(part, found.get("start")) for part in kept},
        )

    def cases(self, key: str) -> list[CaseFiles]:
        """Return every image of a set that was given; none of one that was not."""
        if key not in self._cases:
            folder = getattr(self._options, key.replace("-", "_"), None)
            self._cases[key] = cases_of(key, None if key == XRAY else folder) if folder else []
        return self._cases[key]

    def run(self, part: str) -> None:
        """Run a part; after every run what is finished is written, whatever happens to the rest."""
        getattr(self, f"_{part}")()

    def _take(self, part: str, result: dict[str, Any] | None, words: str) -> None:
        if result is None:
            return
        self.results[part].append(result)
        print(f"== {part}: {words}", flush=True)
        self.write()

    def _transfer(self) -> None:
        options = self._options
        wanted = options.only.split(",") if options.only else TARGETS
        keys = [key for key in TARGETS if key in wanted and self.cases(key)]
        bases = self._bases()
        budget = Budget(options.steps, options.scratch_steps, options.rehearsal)
        counts, draws = numbers(options.counts), numbers(options.draws)
        for run in transfer.planned(keys, options.arms.split(","), counts, draws, options.test_images, budget):
            start, device, make, fresh = self._how
            result = transfer.find_or_make(run, self.cases(run.key), bases, start, device, make, fresh)
            if result is not None:
                dice, base = (mean_of(result[where], "dice") for where in ("images", "base"))
                self._take("transfer", result, f"{run.name}: Dice {dice:.4f}, base {decimal(base, 4)}")

    def _bases(self) -> list[CaseFiles]:
        found: list[CaseFiles] = []
        for key in BASES:
            folder = getattr(self._options, key)
            if folder is not None:
                tests = find_cases(key, folder, "test")
                found += tests[:: max(1, -(-len(tests) // self._options.base_images))]
        return found

    def _work(self) -> None:
        options = self._options
        key, budget = options.work_set, Budget(options.steps, 0, options.rehearsal)
        for count in numbers(options.work_images):
            if self.cases(key):
                result = work.work(key, self.cases(key), count, options.test_images, budget, *self._how)
                self._take("work", result, f"{key}, {count} images")

    def _gate(self) -> None:
        options = self._options
        budget = Budget(options.steps, 0, options.rehearsal)
        for key in options.gate_sets.split(","):
            for case in options.cases.split(",") if self.cases(key) else ():
                result = gate.gate_case(case, key, self.cases(key), budget, *self._how)
                if result is not None:
                    self._take("gate", result, f"{key}, {case}: {result['decision']['sentence']}")

    def _time(self) -> None:
        options = self._options
        result = gate.time_run(Budget(options.time_steps, 0, REHEARSAL), *self._how)
        self._take("time", result, "five images to a decision")

    def _stalls(self) -> None:
        options = self._options
        result = stalls.stalls(Budget(options.stall_steps, 0, options.rehearsal), *self._how)
        self._take("stalls", result, "standstills of the window")

    def write(self) -> None:
        """Write the report of what is finished."""
        told = (transfer.PROTOCOL, work.PROTOCOL, gate.PROTOCOL, gate.TIME_PROTOCOL, stalls.PROTOCOL, COMMON)
        command = public_command(self._parser, self._options, ("steps", "scratch_steps", "rehearsal", "time_steps"))
        report = report_header(command, " ".join(told))
        report["commands"] = {part: self._commands.get(part, command) for part in PARTS if self.results[part]}
        start = model_key(self._start)
        report["starts"] = {part: self._starts.get(part, start) for part in report["commands"]}
        report["results"] = self.results
        body = f"{body_of(self.results)}\n\n{sources_of(report['commands'], command)}".rstrip()
        write_report(self._options.out, "Fine-tuning", report, body)


COMMON = (
    "Nothing is chosen on test images: steps, rates and weights are the package's own, the same for every set. What a "
    "run was given (steps, images to rehearse, at most) is in its table; the package's own are "
    f"{STEPS} steps and {REHEARSAL} images to rehearse."
)


def sources_of(commands: dict[str, str], now: str) -> str:
    """Say which parts were made by another command than this one."""
    others: dict[str, list[str]] = {}
    for part, command in commands.items():
        if command != now:
            others.setdefault(command, []).append(part)
    return "\n\n".join(f"Made before: {', '.join(parts)}, by `{command}`." for command, parts in others.items())


def body_of(results: dict[str, list[dict[str, Any]]]) -> str:
    """Return the tables of what is finished, and what was not run."""
    parts = []
    if found := results["transfer"]:
        told = f"{given([r for r in found if r['arm'] == TUNED])} {transfer.verdict(found)}"
        parts.append(f"## A few corrected images of another kind\n\n{told}\n\n{transfer.table(found)}")
    for result in results["work"]:
        title = f"## What actions are worth: {transfer.title_of(result['key'])}"
        best = (result["validation"] or {}).get("step", "")
        told = f"{given([result])} Weights of step {best} were kept." + " They are the old model's." * (best == 0)
        parts.append(f"{title}\n\n{told}\n\n{work.work_tables(result)}")
    for key in dict.fromkeys(result["key"] for result in results["gate"]):
        of_set = [result for result in results["gate"] if result["key"] == key]
        parts.append(f"## The gate: {transfer.title_of(key)}\n\n{given(of_set)}\n\n{gate.gate_table(of_set)}")
    for result in results["time"]:
        parts.append(f"## Time on {result['device']}\n\n{given([result])}\n\n{gate.time_table(result)}")
    for result in results.get("stalls", []):
        parts.append(f"## Standstills of the window meanwhile\n\n{stalls.stalls_table(result)}")
    return "\n\n".join([*parts, missing(results)])


def given(results: Sequence[dict[str, Any]]) -> str:
    """Say how much the runs were given."""
    found = sorted({(r["budget"]["steps"], r["budget"]["rehearsal"]) for r in results})
    told = ", ".join(f"{steps} steps at most and {images} images to rehearse" for steps, images in found)
    own = all(pair == (STEPS, REHEARSAL) for pair in found)
    return f"Fine-tunings were given {told}{'' if own else ', **less or more than the package gives them**'}."


def missing(results: dict[str, list[dict[str, Any]]]) -> str:
    """Say what was not run."""
    found = results["transfer"]
    not_run = [part for part in PARTS if not results.get(part)]
    if found:
        have = {(r["key"], r["shots"]) for r in found if r["arm"] == TUNED}
        rest = [f"{transfer.title_of(key)} {n}" for key in TARGETS for n in (1, 3, 5, 10) if (key, n) not in have]
        not_run += [f"transfer with so many images: {', '.join(rest)}"] if rest else []
        draws = {r["draw"] for r in found}
        not_run += ["more than one draw: luck is not told from gain"] if len(draws) == 1 else []
    said = "; ".join(not_run)
    return f"## Not run\n\n{said or 'Nothing is missing'}."


def numbers(text: str) -> list[int]:
    """Read numbers separated by commas."""
    return [int(part) for part in text.split(",") if part]


def main() -> None:
    """Run the benchmark."""
    parser = make_parser()
    options = parser.parse_args()
    for name, known in (("parts", PARTS), ("arms", ARMS), ("cases", tuple(gate.CASES))):
        if unknown := [one for one in getattr(options, name).split(",") if one not in known]:
            parser.error(f"there is no '{unknown[0]}' among the {name}; choose from {', '.join(known)}")
    if any(not 1 <= count <= MOST for count in numbers(options.counts)):
        parser.error(f"of corrected images there are 1 to {MOST}")
    if "stalls" in options.parts.split(",") and not options.report and not has_screen():
        parser.error("the standstills of a window need a screen; run it under xvfb-run -a, or name other --parts")
    benchmark = Benchmark(parser, options)
    for part in options.parts.split(","):
        benchmark.run(part)
    if not any(benchmark.results.values()):
        parser.error("there is no finished run to report; give the folder of a set")


if __name__ == "__main__":
    main()
