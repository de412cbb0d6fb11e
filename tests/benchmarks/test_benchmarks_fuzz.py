"""A hundred and fifty spoilt files, and a fuzzer that would see what goes wrong."""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits and audit as on Linux")

if sys.platform == "linux":
    import fuzz
    import fuzz_child
    import fuzz_mutations
    import fuzz_parsers

    from napari_vessel.errors import InputError


def test_a_hundred_and_fifty_spoilt_files_each_end_in_a_sentence_or_are_read(tmp_path):
    found = fuzz.fuzz(150, 0, list(fuzz_parsers.parsers()), tmp_path)
    assert {name: tally.failures for name, tally in found.items() if tally.failures} == {}
    assert sum(sum(tally.outcomes.values()) for tally in found.values()) == 150
    assert all(tally.outcomes["refused"] for tally in found.values())


def test_every_parser_reads_its_good_samples(tmp_path, monkeypatch):
    monkeypatch.setenv(fuzz_child.USER_FOLDER_VARIABLE, str(tmp_path / "user"))
    for name in ("recipe", "pairs", "model", "run", "export", "import", "project"):
        samples, case = tmp_path / name, tmp_path / f"{name}-case"
        samples.mkdir()
        parser = fuzz_parsers.parsers()[name]
        parser.make(samples)
        case.mkdir()
        if name == "import":
            kinds = sorted(path for path in samples.iterdir() if path.name != "nnunet")
            assert len(kinds) == 9
            for kind in kinds:
                shutil.copytree(kind, tmp_path / kind.name / "data")
                parser.read(tmp_path / kind.name)
            continue
        if name == "recipe":
            shutil.copy(sorted(samples.iterdir())[0], case)
        elif name == "pairs":
            parser.spoil(random.Random(0), samples, case, tmp_path)
            shutil.copy(samples / "pairs.csv", case)
        else:
            inside = {
                "model": fuzz_parsers.MODEL,
                "encoder": fuzz_parsers.MODEL,
                "run": "finetuning/run",
                "project": "project",
            }.get(name, "")
            shutil.copytree(samples, case / inside, dirs_exist_ok=True)
        parser.read(case)


def test_a_case_is_the_same_again_and_another_seed_another(tmp_path):
    (tmp_path / "samples").mkdir()
    parser = fuzz_parsers.parsers()["recipe"]
    parser.make(tmp_path / "samples")

    def made(seed):
        case = tmp_path / "case"
        fuzz_child._fresh(case)
        parser.spoil(random.Random(seed), tmp_path / "samples", case, tmp_path)
        return (case / "recipe.toml").read_bytes()

    assert made(1) == made(1) != made(2)


FAULTS = {
    "no sentence": lambda case: (_ for _ in ()).throw(InputError("x" * 5000)),
    "KeyError": lambda case: {}["a"],
    "RecursionError": lambda case: json.loads("[" * 100_000),
    "MemoryError": lambda case: bytearray(50 * 2**30),
    "forbidden": lambda case: subprocess.run(["true"], check=False),
    "wrote outside": lambda case: (case.parent / "outside" / "canary.txt").unlink(),
}


@pytest.mark.parametrize("fault", [*FAULTS, "forbidden write", "forbidden code", "forbidden database"])
def test_what_goes_wrong_is_seen(tmp_path, fault):
    # An audit hook cannot be taken off again, so that it listens in a process of its own.
    script = f"""
import sys; sys.path.insert(0, {str(os.path.dirname(fuzz.__file__))!r})
sys.path.insert(0, {str(os.path.dirname(__file__))!r})
import test_benchmarks_fuzz as here
here.read_badly({str(tmp_path)!r}, {fault!r})
"""
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    expected = "forbidden" if fault == "wrote outside" else fault.split()[0] if "forbidden" in fault else fault
    assert told.splitlines()[-1] == expected


def read_badly(folder, fault):
    """Read one case with a reader that goes wrong, and print how that was judged."""
    import resource
    from pathlib import Path

    acts = {
        **FAULTS,
        "forbidden write": lambda case: (case.parent / "new.txt").write_text("x"),
        "forbidden code": lambda case: exec(compile("1", "evil", "exec")),
        "forbidden database": lambda case: sqlite3.connect(case.parent / "outside" / "new.sqlite").close(),
    }
    work = Path(folder).resolve()
    resource.setrlimit(resource.RLIMIT_AS, (20 * 2**30, resource.RLIM_INFINITY))
    fuzz_child.make_outside(work / "outside")
    parser = fuzz_parsers.Parser("bad", 1, print, lambda *_: None, acts[fault])
    watch = fuzz_child.Watch(work / "case")
    sys.stdout.write(fuzz_child._try(parser, 0, 0, work, work / "case", work / "outside", watch)[0])


def dying(pipe, *_):
    """Be ready, and die of the first case."""
    pipe.send(("ready", "", 0.0))
    pipe.recv()
    os._exit(9)


def hanging(pipe, *_):
    """Be ready, and never answer."""
    pipe.send(("ready", "", 0.0))
    time.sleep(600)


@pytest.mark.parametrize(("serve", "outcome"), [("dying", "crash"), ("hanging", "hang")])
def test_a_process_that_dies_or_hangs_is_replaced(tmp_path, serve, outcome):
    child = fuzz.Child(tmp_path, tmp_path, 0, patience=2.0, serve=globals()[serve])
    assert [child.read("image", number)[0] for number in range(2)] == [outcome, outcome]
    child.stop()


def test_a_png_that_claims_another_size_has_right_checksums(tmp_path):
    fuzz_parsers.parsers()["image"].make(tmp_path)
    whole = (tmp_path / "one.png").read_bytes()
    changed = {fuzz_mutations.mutate_png(random.Random(n), whole)[16:24] for n in range(40)}
    assert len(changed) > 5
