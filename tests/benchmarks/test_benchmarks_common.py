import argparse
import json
import math
import subprocess
from pathlib import Path

import common
import numpy as np
import pytest
from common import (
    cached,
    decimal,
    gathered,
    images_key,
    interval,
    markdown_table,
    paired_interval,
    peak_mib,
    public_command,
    report_header,
    write_report,
)

from napari_vessel.training.cases import CaseFiles


class TestInterval:
    def test_it_covers_the_true_mean_about_nineteen_times_in_twenty(self) -> None:
        rng = np.random.default_rng(1)
        covered = 0
        for _ in range(200):
            low, high = interval(rng.normal(0.8, 0.05, 30), draws=500)
            covered += low <= 0.8 <= high
        assert 0.88 <= covered / 200 <= 0.99

    def test_the_same_values_give_the_same_interval(self) -> None:
        values = [0.7, 0.8, 0.75, 0.9]
        assert interval(values) == interval(values)
        assert interval(values, seed=1, draws=50) != interval(values, seed=2, draws=50)

    def test_images_without_the_figure_do_not_count(self) -> None:
        assert interval([0.7, math.nan, 0.8]) == interval([0.7, 0.8])
        assert all(math.isnan(v) for v in interval([math.nan]))


class TestPairedInterval:
    def test_a_constant_gain_is_certain_however_different_the_images_are(self) -> None:
        theirs = [0.5, 0.7, 0.9]
        difference, low, high = paired_interval([v + 0.01 for v in theirs], theirs)
        assert (difference, low, high) == pytest.approx((0.01, 0.01, 0.01))

    def test_other_images_cannot_be_paired(self) -> None:
        with pytest.raises(ValueError, match="cannot be paired"):
            paired_interval([0.1, 0.2], [0.1])


class TestTable:
    def test_a_bar_in_a_cell_does_not_end_it(self) -> None:
        table = markdown_table(["a", "b"], [["x|y", 1]])
        assert table.splitlines() == ["| a | b |", "| --- | --- |", "| x\\|y | 1 |"]

    def test_a_short_row_is_refused(self) -> None:
        with pytest.raises(ValueError, match="as long as"):
            markdown_table(["a", "b"], [["x"]])

    def test_an_unknown_figure_is_an_empty_cell(self) -> None:
        assert [decimal(None), decimal(math.nan), decimal(0.8284)] == ["", "", "0.828"]


class TestReport:
    def test_the_command_shows_no_folder_of_this_machine(self) -> None:
        parser = argparse.ArgumentParser(prog="/somewhere/else/speed.py")
        parser.add_argument("--drive", type=Path)
        parser.add_argument("--runs", type=int, default=5)
        parser.add_argument("--fresh", action="store_true")
        parser.add_argument("--models")
        parser.add_argument("-o", "--out", type=Path, default=Path("x.json"))
        options = parser.parse_args(["--drive", "/secret/DRIVE", "--fresh", "-o", "/secret/y.json"])
        assert public_command(parser, options) == "python benchmarks/speed.py --drive DIR --fresh --out FILE"
        options = parser.parse_args(["--models", "fundus,runs/drive/drive,/secret/vig"])
        assert public_command(parser, options) == "python benchmarks/speed.py --models fundus,runs/drive/drive,vig"

    def test_the_command_is_the_one_that_makes_the_figures(self) -> None:
        parser = argparse.ArgumentParser(prog="x.py")
        parser.add_argument("--report", action="store_true")
        parser.add_argument("--steps", type=int, default=600)
        options = parser.parse_args(["--report"])
        assert public_command(parser, options) == "python benchmarks/x.py"
        # A default may be another one tomorrow.
        assert public_command(parser, options, ("steps",)) == "python benchmarks/x.py --steps 600"

    def test_markdown_and_json_say_how_the_figures_were_made(self, tmp_path: Path) -> None:
        report = report_header("python benchmarks/x.py", "Inside the field of view.") | {"rows": [1]}
        write_report(tmp_path / "x.json", "Title", report, "| a |")
        text = (tmp_path / "x.md").read_text()
        assert "vessel 8-connected" in text
        assert "`python benchmarks/x.py`" in text
        assert report["machine"]["processor"] in text
        assert json.loads((tmp_path / "x.json").read_text())["rows"] == [1]

    def test_a_report_says_of_which_code_and_files_it_is(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "scores.json").write_text("{}")
        first = report_header("x", "", [tmp_path / "scores.json"])
        assert len(first["files"]["scores.json"]) == 64
        assert first["versions"]["napari-vessel"]
        assert {"completion", "topology", "benchmarks", "completion/scores.json", "completion/cuts.json"} <= set(
            first["code"]
        )
        (tmp_path / "completion").mkdir()
        monkeypatch.setattr(common, "PACKAGE", tmp_path)
        hashes = []
        for code, fitted in (("one", "one"), ("two", "one"), ("two", "two")):
            (tmp_path / "completion" / "search.py").write_text(code)
            (tmp_path / "completion" / "scores.json").write_text(fitted)
            hashes.append(common.made_with.__wrapped__()["code"])
        assert [one["completion"] == hashes[0]["completion"] for one in hashes] == [True, False, False]
        assert [one["completion/scores.json"] == hashes[0]["completion/scores.json"] for one in hashes] == [
            *(True, True),
            False,
        ]

    def test_a_commit_is_named_where_there_is_one_and_changed_code_is_told(self, tmp_path: Path) -> None:
        assert common.commit(tmp_path) is None

        def git(*arguments: str) -> None:
            who = ("-c", "user.name=a", "-c", "user.email=a@b")
            subprocess.run(["git", "-C", str(tmp_path), *who, *arguments], check=True, capture_output=True)

        for name in ("benchmarks/x.py", "benchmarks/results/x.json"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text("one")
        git("init")
        git("add", ".")
        git("commit", "-m", "one")
        named = common.commit(tmp_path)
        assert named is not None
        assert len(named) == 40
        (tmp_path / "benchmarks/results/x.json").write_text("two")
        assert common.commit(tmp_path) == named
        (tmp_path / "benchmarks/x.py").write_text("two")
        assert common.commit(tmp_path) == f"{named} with changes"
        # A folder inside a checkout of something else is none.
        assert common.commit(tmp_path / "benchmarks") is None

    def test_the_runs_of_several_reports_become_one(self, tmp_path: Path) -> None:
        for name, seed, command in (
            ("a", 12, "x.py --kills 5 --seed 12 --out FILE"),
            ("b", 3, "x.py --kills 5 --seed 3"),
        ):
            report = report_header(command, "") | {"results": [{"seed": seed}]}
            write_report(tmp_path / f"{name}.json", "Title", report, "")
        runs, command = gathered([tmp_path / "a.json", tmp_path / "b.json"])
        assert [run["seed"] for run in runs] == [3, 12]
        assert command == "x.py --kills 5 --seed SEED"

    def test_peak_memory_is_that_of_a_whole_process(self) -> None:
        assert 20 < peak_mib() < 100_000


class TestFinishedParts:
    def test_one_is_kept_until_an_image_or_a_mask_changes(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(common, "PARTS", tmp_path / "parts")
        image, mask, fov = (tmp_path / name for name in ("01_h.jpg", "01_h.tif", "01_h_mask.tif"))
        files = [CaseFiles("hrf", "01_h", "01_h", "test", image, mask, fov)]
        for path in (image, mask, fov):
            path.write_bytes(b"one")
        computed = []

        def part() -> int:
            return cached("part", images_key(files), lambda: computed.append(1) or len(computed))

        assert [part(), part()] == [1, 1]
        for number, path in enumerate((image, mask, fov), start=2):
            path.write_bytes(b"two")
            assert [part(), part()] == [number, number]

    def test_and_until_the_code_behind_it_changes_or_what_was_fitted_or_how_images_are_read(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(common, "PACKAGE", tmp_path)
        names = ("completion/search.py", "completion/scores.json", "training/cases.py", "training/datasets.py")
        for name in names:
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text("one")
        seen = [common.source_hash.__wrapped__(("completion",))]
        for name in names:
            (tmp_path / name).write_text("two")
            seen.append(common.source_hash.__wrapped__(("completion",)))
        assert len(set(seen)) == 5
