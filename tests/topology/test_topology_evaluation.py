"""Which files belong together, and what is written about them."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_vessel.errors import InputError
from napari_vessel.images.writing import write_mask, write_probability
from napari_vessel.jobs import run_job
from napari_vessel.topology.evaluation import (
    COLUMNS,
    Pair,
    add_fields,
    check_output,
    evaluate,
    find_pairs,
    read_pairs,
    settings,
    summarise,
    write_evaluation,
)

TRUE = np.zeros((40, 50), bool)
TRUE[10:13, 5:45] = TRUE[10:35, 20:23] = True
BROKEN = TRUE.copy()
BROKEN[:, 30:34] = False


def put(folder: Path, *names: str) -> Path:
    """Make a folder of masks."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.fromarray(TRUE).save(folder / name)
    return folder


def matched(folder: Path, predictions: tuple[str, ...], truths: tuple[str, ...]) -> dict[str, str]:
    pairs, _ = find_pairs(put(folder / "predictions", *predictions), put(folder / "truth", *truths))
    return {pair.prediction.name: pair.truth.name for pair in pairs}


class TestFindPairs:
    @pytest.mark.parametrize(
        ("predictions", "truths"),
        [
            (("a_mask.png", "b_mask.png"), ("a.png", "b.gif")),
            (("a.png", "B.png"), ("A.tif", "b.png")),
            (("a_mask.png",), ("a_mask.png",)),
            (("d\u00e9but_mask.png",), ("de\u0301but.png",)),
            (("a.png",), ("a_mask.gif",)),
            (("01_test_mask.png", "02_test_mask.png"), ("01_manual1.gif", "02_manual1.gif")),
            (("01_dr_mask.png", "01_g_mask.png"), ("01_dr.tif", "01_g.tif")),
            (("1.png", "10.png"), ("01_manual1.png", "10_manual1.png")),
            (("07_unet.png",), ("07.png",)),
            (("Image_01L.png",), ("Image_01L.png",)),
            (("Image_01L_mask.png", "Zoë_5.png"), ("Image_01L_1stHO.png", "Zoë_5 vaisseaux.png")),
            (("Müller_01 droite.png", "Müller_01.png"), ("Müller_01 droite_manuel.png", "Müller_01-manuel.png")),
        ],
    )
    def test_by_name(self, tmp_path, predictions, truths):
        assert matched(tmp_path, predictions, truths) == dict(zip(predictions, truths, strict=True))

    def test_the_image_before_the_file_of_the_same_name(self, tmp_path):
        assert matched(tmp_path, ("a_mask.png",), ("a.png", "a_mask.png")) == {"a_mask.png": "a.png"}

    def test_names_the_image_and_how_it_was_found(self, tmp_path):
        pairs, unused = find_pairs(
            put(tmp_path / "p", "01_test_mask.png", "b.png"), put(tmp_path / "t", "01_manual1.gif", "b.png", "c.png")
        )
        assert [(pair.image, pair.matched_by) for pair in pairs] == [("01_test", "number"), ("b", "name")]
        assert [path.name for path in unused] == ["c.png"]

    def test_two_files_are_a_pair_whatever_their_names(self, tmp_path):
        put(tmp_path, "ours_mask.png", "theirs.png")
        pairs, unused = find_pairs(tmp_path / "ours_mask.png", tmp_path / "theirs.png")
        assert [(pair.image, pair.truth.name, pair.matched_by) for pair in pairs] == [("ours", "theirs.png", "files")]
        assert unused == []

    def test_a_file_finds_its_truth_in_a_folder(self, tmp_path):
        put(tmp_path / "p", "a.png", "b.png")
        pairs, unused = find_pairs(tmp_path / "p" / "a.png", put(tmp_path / "t", "a.png", "b.png"))
        assert [pair.truth.name for pair in pairs] == ["a.png"]
        assert [path.name for path in unused] == ["b.png"]

    def test_probabilities_and_records_beside_the_masks_are_no_predictions(self, tmp_path):
        folder = put(tmp_path / "p", "a_mask.png")
        write_probability(folder / "a_probability.tif", TRUE)
        (folder / "a.json").write_text("{}")
        pairs, _ = find_pairs(folder, put(tmp_path / "t", "a.png"))
        assert [pair.prediction.name for pair in pairs] == ["a_mask.png"]

    @pytest.mark.parametrize(
        ("predictions", "truths"),
        [
            (("x.png", "b.png"), ("a.png", "b.png")),  # b is matched and not left
            (("01_dr.png",), ("01_g.png",)),  # one number, two images
            (("01_a.png", "01_b.png"), ("01_manual1.png",)),  # a number is there twice
            (("01.png",), ("01_manual1.png", "01_manual2.png")),
            (("eye.png",), ("eye_1stHO.png", "eye_2ndHO.png")),
            (("eye.png",), ("eye_2_manual.png",)),  # of another image, perhaps
            (("eye.png",), ("eyes_manual.png",)),
        ],
    )
    def test_what_has_no_truth_is_listed_with_what_is_left(self, tmp_path, predictions, truths):
        with pytest.raises(InputError) as error:
            matched(tmp_path, predictions, truths)
        left, right = str(error.value).split("; left in ")
        for name in (*predictions, *truths):
            assert (name in left or name in right) == (name != "b.png")
        assert "--pairs" in right

    def test_long_lists_are_cut(self, tmp_path):
        with pytest.raises(InputError, match=r"p1\.png, .* and 12 more in .* left in .*: t\.png\."):
            matched(tmp_path, tuple(f"p{n}.png" for n in range(1, 21)), ("t.png",))

    @pytest.mark.parametrize(
        ("predictions", "truths", "words"),
        [
            (("a.png", "a_mask.png"), ("a.png",), "both belong to the truth"),
            (("a.png",), ("a.png", "a.gif"), "could belong to a.png"),
        ],
    )
    def test_refuses_what_is_not_one_to_one(self, tmp_path, predictions, truths, words):
        with pytest.raises(InputError, match=words):
            matched(tmp_path, predictions, truths)

    def test_refuses_a_mask_as_its_own_truth(self, tmp_path):
        put(tmp_path, "a.png")
        with pytest.raises(InputError, match="its own truth"):
            find_pairs(tmp_path, tmp_path)

    def test_refuses_empty_and_missing_folders(self, tmp_path):
        put(tmp_path / "t", "a.png")
        (tmp_path / "empty").mkdir()
        with pytest.raises(InputError, match=r"No mask files in .*empty"):
            find_pairs(tmp_path / "empty", tmp_path / "t")
        with pytest.raises(InputError, match=r"nowhere does not exist"):
            find_pairs(tmp_path / "t", tmp_path / "nowhere")
        write_probability(tmp_path / "empty" / "a_probability.tif", TRUE)
        with pytest.raises(InputError, match="probabilities only"):
            find_pairs(tmp_path / "empty", tmp_path / "t")


class TestAddFields:
    def pairs(self, folder: Path, *names: str) -> list[Pair]:
        return find_pairs(
            put(folder / "p", *(f"{n}_mask.png" for n in names)), put(folder / "t", *(f"{n}.png" for n in names))
        )[0]

    def test_drives_field_of_view_has_the_name_of_the_prediction(self, tmp_path):
        pairs = self.pairs(tmp_path, "01_test", "02_test")
        done = add_fields(pairs, put(tmp_path / "mask", "01_test_mask.gif", "02_test_mask.gif"), None)
        assert [pair.fov and pair.fov.name for pair in done] == ["01_test_mask.gif", "02_test_mask.gif"]

    def test_by_number(self, tmp_path):
        pairs = self.pairs(tmp_path, "01_manual2")
        (done,) = add_fields(pairs, put(tmp_path / "mask", "01_test_mask.gif"), None)
        assert done.fov == tmp_path / "mask" / "01_test_mask.gif"

    def test_a_prediction_beside_it_is_no_field_of_view(self, tmp_path):
        pairs = self.pairs(tmp_path, "a")
        with pytest.raises(InputError, match="no field of view for a; all its files are predictions or truths"):
            add_fields(pairs, tmp_path / "p", None)
        put(tmp_path / "p", "a_fov.png")
        assert add_fields(pairs, tmp_path / "p", None)[0].fov == tmp_path / "p" / "a_fov.png"

    def test_one_field_of_view_for_all_but_one_probability_for_one(self, tmp_path):
        pairs = self.pairs(tmp_path, "a", "b")
        put(tmp_path, "round.png")
        assert {pair.fov for pair in add_fields(pairs, tmp_path / "round.png", None)} == {tmp_path / "round.png"}
        with pytest.raises(InputError, match="given for 2 images"):
            add_fields(pairs, None, tmp_path / "round.png")
        assert add_fields(pairs[:1], None, tmp_path / "round.png")[0].probability == tmp_path / "round.png"

    def test_probabilities_lie_beside_the_masks_as_segment_writes_them(self, tmp_path):
        pairs = self.pairs(tmp_path, "a", "b")
        for name in "ab":
            write_probability(tmp_path / "p" / f"{name}_probability.tif", TRUE)
        done = add_fields(pairs, None, tmp_path / "p")
        assert [pair.probability and pair.probability.name for pair in done] == [
            "a_probability.tif",
            "b_probability.tif",
        ]

    def test_refuses_a_folder_without_one_of_them(self, tmp_path):
        pairs = self.pairs(tmp_path, "a", "b")
        with pytest.raises(InputError, match=r"no probability for b; it holds a\.png"):
            add_fields(pairs, None, put(tmp_path / "chances", "a.png"))


class TestReadPairs:
    def table(self, folder: Path, *lines: str) -> Path:
        put(folder / "x", "1.png", "2.png")
        put(folder / "y", "1.png", "2.png", "f.png")
        (folder / "pairs.csv").write_text("\n".join(lines) + "\n", encoding="utf-8-sig")
        return folder / "pairs.csv"

    def test_paths_are_relative_to_the_list(self, tmp_path):
        table = self.table(
            tmp_path, "truth, prediction,fov", "y/2.png,x/1.png,y/f.png", "", f"{tmp_path}/y/1.png,x/2.png,"
        )
        one, other = read_pairs(table)
        assert (one.image, one.prediction, one.truth) == ("1", tmp_path / "x" / "1.png", tmp_path / "y" / "2.png")
        assert (one.fov, one.probability, one.matched_by) == (tmp_path / "y" / "f.png", None, "list")
        assert (other.truth, other.fov) == (tmp_path / "y" / "1.png", None)

    def test_semicolons_and_names_in_the_folders_that_were_given(self, tmp_path):
        (pair,) = read_pairs(self.table(tmp_path, "prediction;truth", "1.png;2.png"), tmp_path / "x", tmp_path / "y")
        assert (pair.prediction, pair.truth) == (tmp_path / "x" / "1.png", tmp_path / "y" / "2.png")

    def test_one_name_in_two_folders_is_two_images(self, tmp_path):
        table = self.table(tmp_path, "prediction,truth", "x/1.png,x/2.png", "y/1.png,y/2.png")
        assert [pair.image for pair in read_pairs(table)] == ["x/1", "y/1"]

    @pytest.mark.parametrize(
        ("lines", "words"),
        [
            (["prediction,fov", "x/1.png,y/1.png"], "no column truth"),
            (["prediction,truth,fovs", "x/1.png,y/1.png,"], "unknown column 'fovs'"),
            (["prediction,truth"], "lists no pairs"),
            (["prediction,truth", "x/1.png,"], "Line 2 .* has no truth"),
            (["prediction,truth", "x/1.png,y/1.png", "x/2.png,y/3.png"], r"Line 3 .*3\.png does not exist"),
            (["prediction,truth", "x/1.png,y"], "is a folder"),
            (["prediction,truth", "x/1.png,y/1.png,y/2.png"], "more cells"),
            (["prediction,truth", "x/1.png,y/1.png", "x/2.png,y/1.png"], "both belong to the truth"),
            (["prediction,truth", "x/1.png,y/1.png", "x/1.png,y/2.png"], "listed twice"),
            ([], "no column prediction"),
        ],
    )
    def test_refuses(self, tmp_path, lines, words):
        with pytest.raises(InputError, match=words):
            read_pairs(self.table(tmp_path, *lines))

    def test_refuses_what_is_no_text(self, tmp_path):
        (tmp_path / "pairs.csv").write_bytes(b"\xff\xfe\x00\x81")
        with pytest.raises(InputError, match="not UTF-8 text"):
            read_pairs(tmp_path / "pairs.csv")
        with pytest.raises(InputError, match="No such file"):
            read_pairs(tmp_path / "none.csv")


class TestEvaluate:
    @pytest.fixture
    def pairs(self, tmp_path) -> list[Pair]:
        write_mask(tmp_path / "ours.png", BROKEN)
        write_mask(tmp_path / "theirs.png", TRUE)
        return find_pairs(tmp_path / "ours.png", tmp_path / "theirs.png")[0]

    def test_writes_a_row_and_how_it_was_made(self, pairs, tmp_path):
        rows = run_job(evaluate(pairs))
        unused = [tmp_path / "left.png"]
        write_evaluation(tmp_path / "table.csv", rows, unused)

        with (tmp_path / "table.csv").open(newline="") as stream:
            (row,) = csv.DictReader(stream)
        assert tuple(row) == COLUMNS
        both, true = int((BROKEN & TRUE).sum()), int(TRUE.sum())
        assert float(row["dice"]) == pytest.approx(2 * both / (both + true), abs=1e-6)
        assert (row["image"], row["precision"], row["betti0_error"], row["auc"]) == ("ours", "1", "1", "")
        made = json.loads((tmp_path / "table.json").read_text())
        assert made["columns"] == list(COLUMNS)
        assert made["mean"]["dice"]["mean"] == rows[0].figures["dice"]
        assert made["mean"]["dice"]["interval_95"] is None
        assert made["files"][0]["truth"] == str(tmp_path / "theirs.png")
        assert made["truths_without_prediction"] == [str(unused[0])]
        assert "8-connected" in made["settings"]["connectivity"]

    def test_columns_are_those_that_scripts_rely_on(self):
        assert ",".join(COLUMNS[:20]) == (
            "image,dice,jaccard,sensitivity,specificity,precision,accuracy,mcc,auc,cldice,betti0_error,betti1_error,"
            "betti0_error_64,betti1_error_64,cal_c,cal_a,cal_l,cal,betti_matching0,betti_matching1"
        )

    def test_reads_a_second_observers_colours(self, pairs, tmp_path):
        colours = np.where(TRUE[..., None], [250, 255, 252], [3, 0, 2]).astype(np.uint8)
        Image.fromarray(colours).convert("P", palette=Image.Palette.ADAPTIVE).save(tmp_path / "theirs.gif")
        (row,) = run_job(evaluate([Pair("ours", tmp_path / "theirs.gif", pairs[0].truth, "list")]))
        assert row.figures["dice"] == 1

    def test_counts_inside_the_field_of_view(self, pairs, tmp_path):
        fov = np.zeros_like(TRUE)
        fov[:, :30] = True
        write_mask(tmp_path / "fov.png", fov)
        write_probability(tmp_path / "chance.tif", np.where(BROKEN, 0.9, 0.2))
        plain = run_job(evaluate(pairs))
        inside = run_job(evaluate(add_fields(pairs, tmp_path / "fov.png", tmp_path / "chance.tif")))
        assert plain[0].figures["dice"] < 1
        assert plain[0].figures["auc"] is None
        assert inside[0].figures["dice"] == inside[0].figures["auc"] == 1
        assert "whole image" in settings(plain)["field of view"]
        assert "inside" in settings(inside)["field of view"]
        assert settings([*plain, *inside])["field of view"].startswith("given for 1 of 2 images")
        assert summarise([*plain, *inside])["auc"]["images"] == 1

    def test_refuses_another_shape(self, pairs, tmp_path):
        write_mask(tmp_path / "small.png", TRUE[:30])
        for wrong in (
            Pair("a", tmp_path / "small.png", pairs[0].truth, "list"),
            Pair("a", pairs[0].prediction, pairs[0].truth, "list", fov=tmp_path / "small.png"),
        ):
            with pytest.raises(InputError, match=r"30 x 50 px but its .* 40 x 50 px"):
                run_job(evaluate([wrong]))
        write_probability(tmp_path / "small.tif", TRUE[:30])
        with pytest.raises(InputError, match=r"shape \(30, 50\)"):
            run_job(evaluate([Pair("a", pairs[0].prediction, pairs[0].truth, "list", None, tmp_path / "small.tif")]))

    def test_refuses_several_pages_before_it_begins(self, pairs, tmp_path):
        page = Image.fromarray(TRUE.astype(np.uint8) * 255)
        page.save(tmp_path / "pages.tif", save_all=True, append_images=[page])
        job = evaluate([pairs[0], Pair("b", tmp_path / "pages.tif", pairs[0].truth, "list")])
        messages: list[str] = []
        with pytest.raises(InputError, match="has 2 pages"):
            run_job(job, lambda progress: messages.append(progress.message))
        assert messages == ["Checking ours", "Checking b"]

    def test_progress_never_falls_and_the_job_can_be_left(self, pairs):
        job = evaluate(pairs * 2)
        done = [next(job).fraction for _ in range(20)]
        assert done[2:] == sorted(done[2:])
        job.close()

    def test_means_are_over_images(self, pairs, tmp_path):
        perfect = Pair("b", pairs[0].truth, pairs[0].prediction, "list")
        rows = run_job(evaluate([*pairs, perfect]))
        mean = summarise(rows)["sensitivity"]
        assert mean["mean"] == pytest.approx((rows[0].figures["sensitivity"] + 1) / 2)
        assert mean["interval_95"] == (rows[0].figures["sensitivity"], 1)


class TestOutput:
    def test_neither_file_is_left_when_the_second_cannot_be_written(self, tmp_path):
        (tmp_path / "table.json").mkdir()
        with pytest.raises(InputError, match="is a folder"):
            write_evaluation(tmp_path / "table.csv", [])
        assert [path.name for path in tmp_path.iterdir()] == ["table.json"]

    @pytest.mark.parametrize("name", ["table.csv", "table.json"])
    def test_replaces_evaluations_only(self, tmp_path, name):
        check_output(tmp_path / "table.csv")
        write_evaluation(tmp_path / "table.csv", [])
        check_output(tmp_path / "table.csv")
        (tmp_path / name).write_text('{"model": "ridge"}')
        with pytest.raises(InputError, match=f"{name} is there and is no evaluation"):
            check_output(tmp_path / "table.csv")

    def test_replaces_one_whose_suffix_is_in_capitals(self, tmp_path):
        write_evaluation(tmp_path / "TABLE.CSV", [])
        check_output(tmp_path / "TABLE.CSV")


def test_a_figure_next_to_a_whole_number_has_no_bare_point() -> None:
    from napari_vessel.topology.evaluation.run import _cell

    assert [_cell(value) for value in (1 - 1e-9, 1e-9, 0.25, 10.0, None)] == ["1", "0", "0.25", "10", ""]


@pytest.mark.parametrize("cell", ["x" * 200_000, "x" * 5000, "a\0b"])
def test_a_cell_that_can_be_no_file_is_refused_in_a_sentence(tmp_path, cell):
    (tmp_path / "pairs.csv").write_text(f"prediction,truth\n{cell},b.png\n", encoding="utf-8")
    with pytest.raises(InputError) as refused:
        read_pairs(tmp_path / "pairs.csv")
    assert len(str(refused.value)) < 500


@pytest.mark.skipif(os.name == "nt", reason="pipes with names are POSIX")
def test_a_pipe_is_no_list_of_pairs(tmp_path):
    os.mkfifo(tmp_path / "pairs.csv")
    with pytest.raises(InputError, match="not a file"):
        read_pairs(tmp_path / "pairs.csv")


def test_a_companion_that_is_nested_without_end_is_no_evaluation(tmp_path):
    (tmp_path / "scores.json").write_text("[" * 100_000)
    with pytest.raises(InputError, match="no evaluation"):
        check_output(tmp_path / "scores.csv")
