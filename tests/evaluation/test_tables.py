import csv
import math
from collections import Counter

import numpy as np
import pytest
from conftest import image_pair, noisy, official_rows, write_official, write_stored

from zsiqa.evaluation.measurement import Measurer
from zsiqa.evaluation.table_specs import PAPER, at_scale, read_specs, table_names
from zsiqa.evaluation.tables import build_table, count_verdicts, to_frame
from zsiqa.evaluation.verdicts import VERDICTS
from zsiqa.results.folder import open_folder, stored_scales
from zsiqa.results.official import conventions, file_name
from zsiqa.results.pair_list import write_pairs
from zsiqa.results.score_file import ScoreFile
from zsiqa.results.scores import ScoreKey, split_metric

SPEC = {
    "name": "small", "title": "A table", "stub": ["Distance", "Readout"], "datasets": ["set"],
    "labels": {"set": "Set"},
    "perturbations": ["original", "rotate"], "coefficients": ["plcc", "srcc"],
    "groups": [{"name": "l2", "rows": [{"name": "features", "metric": "net-features-l2"}]},
               {"name": "WSD", "rows": [{"name": "features", "metric": "net-features-wsd",
                                         "printed": [0.1, 0.2, 0.3]}]}],
}
NAN = math.nan


def build(root, spec=SPEC, also=()):
    return build_table(spec, Measurer(open_folder(root)), also)


def stored(root, perturbation, scores, **more):
    key = ScoreKey("set", "net-features-l2", perturbation)
    return write_stored(root, key, scores, [1.0, 2.0, 3.0, 5.0], **more)


@pytest.fixture
def scores(tmp_path):
    """net-features-l2: original complete, rotate with a gap; net-features-wsd: nothing."""
    stored(tmp_path, "original", [4.0, 3.0, 2.0, 1.0], notes=["a caveat"])
    stored(tmp_path, "rotate", [1.0, 2.0, NAN, 3.0], notes=["a caveat"])
    return tmp_path


def test_a_table_holds_what_is_there_and_names_what_is_not(scores):
    table = build(scores)
    assert [column[1:] for column in table.columns] == [("original", "plcc"),
                                                        ("original", "srcc"), ("rotate", "plcc"),
                                                        ("rotate", "srcc")]
    assert [(row.name, row.metric) for row in table.rows] == [("features", "net-features-l2"),
                                                              ("features", "net-features-wsd")]
    original_plcc, original_srcc, rotate_plcc, rotate_srcc = table.rows[0].cells
    assert original_plcc.value == pytest.approx(6.5 / math.sqrt(5 * 8.75), abs=1e-12)  # by hand
    assert original_srcc.value == pytest.approx(1.0, abs=1e-12)
    assert rotate_plcc.value == pytest.approx(-4 / math.sqrt(2 * 26 / 3), abs=1e-12)  # labels 1, 2, 5
    assert rotate_srcc.value == pytest.approx(-1.0, abs=1e-12), "the sign is kept"
    assert [(cell.verdict, cell.n, cell.expected) for cell
            in table.rows[0].cells] == [("", n, 4) for n in (4, 4, 3, 3)]
    assert original_srcc.source == "set/net-features-l2/original.csv"
    assert all(math.isnan(cell.value) for cell in table.rows[1].cells)
    assert table.missing() == ["missing: set (original, rotate): net-features-wsd"]
    assert table.notes == ("a caveat",)
    assert [cell.mark for cell in table.rows[0].cells] == ["", "", "p", "p"]
    assert table.partial() == ["p: scores of 3 of 4 pairs: set (rotate): net-features-l2"]
    assert table.problems == ()
    assert table.differences() == []


def test_pairs_used_are_the_fewest_of_each_data_set(scores, tmp_path):
    assert build(scores).pairs_used() == "pairs used: Set 3 of 4 at least"
    stored(scores, "rotate", [1.0, 2.0, 2.0, 3.0])
    assert build(scores).pairs_used() == "pairs used: Set 4 of 4"
    (tmp_path / "empty").mkdir()
    assert build(tmp_path / "empty").pairs_used() == ""


def test_labels_that_fall_with_quality_turn_the_sign(tmp_path):
    stored(tmp_path, "original", [4.0, 3.0, 2.0, 1.0], higher_is_better=False)
    assert build(tmp_path).cells[1].value == pytest.approx(-1.0, abs=1e-12)


def test_figures_are_in_the_order_of_the_columns_and_may_end_early(scores):
    assert [cell.printed for cell in build(scores).rows[1].cells] == [0.1, 0.2, 0.3, None]
    assert [cell.printed for cell in build(scores).rows[0].cells] == [None] * 4


def test_an_empty_store_gives_a_table_of_missing_cells(tmp_path):
    table = build(tmp_path)
    assert table.missing() == ["missing: set (original, rotate): net-features-l2, net-features-wsd"]
    assert {cell.verdict for cell in table.cells} == {"missing"}
    assert len(to_frame([table])) == 8
    assert count_verdicts([table]) == {**dict.fromkeys(VERDICTS, 0),
                                       "missing": 3}, "of the cells with a figure"


def test_metrics_that_lack_different_things_have_lines_of_their_own(scores):
    (scores / "set/net-features-l2/rotate.csv").unlink()
    assert build(scores).missing() == ["missing: set (rotate): net-features-l2",
                                       "missing: set (original, rotate): net-features-wsd"]


def test_cells_of_different_settings_in_a_row_are_noted(tmp_path):
    for perturbation, window in (("original", 224), ("rotate", 256)):
        stored(tmp_path, perturbation, [4.0, 3.0, 2.0, 1.0],
               identity={"window": window, "perturbation": {"name": perturbation}})
    (note,) = build(tmp_path).notes
    assert note == "set/net-features-l2: cells of different settings; see `identity` in the sidecars"


def test_cells_that_differ_by_their_perturbation_alone_are_not_noted(tmp_path):
    for perturbation in ("original", "rotate"):
        stored(tmp_path, perturbation, [4.0, 3.0, 2.0, 1.0],
               identity={"window": 224, "perturbation": {"name": perturbation}})
    assert build(tmp_path).notes == ()


def test_different_amounts_of_a_perturbation_in_a_column_are_noted(tmp_path):
    for metric, degrees in (("net-features-l2", 1), ("net-features-wsd", 2)):
        write_stored(tmp_path, ScoreKey("set", metric, "rotate"), [2.0, 1.0],
                     identity={"window": 224, "perturbation": {"degrees": degrees}})
    assert build(tmp_path).notes == ("rotate: cells of different amounts; see `identity` in the sidecars",)


def test_an_unfinished_file_is_no_cell(tmp_path):
    file = ScoreFile(tmp_path / "set/net-features-l2/original.csv", {})
    file.path.parent.mkdir(parents=True)
    file.begin({"dataset": {"pairs": 2, "higher_is_better": True}, "notes": [], "pairs_file": write_pairs(
        tmp_path / "set", [image_pair(tmp_path / "ref", tmp_path / name) for name in "ab"])}, {})
    file.close(failed={"a": "torn"})
    assert build(tmp_path).cells[0].verdict == "missing"


def test_a_file_that_cannot_be_read_is_a_problem_and_the_others_are_shown(scores):
    path = scores / "set/net-features-l2/rotate.csv"
    path.write_text("a,b\n")
    table = build(scores)
    assert len(table.problems) == 1
    assert str(path) in table.problems[0]
    assert [cell.verdict for cell in table.rows[0].cells] == ["", "", "missing", "missing"]


def test_a_file_that_ends_early_is_noted(tmp_path):
    rows = official_rows("live")
    write_official(tmp_path / "live_psnr.csv", rows[:700], noisy(rows[:700], 0))
    spec = {**SPEC, "datasets": ["live"], "labels": {"live": "LIVE"},
            "groups": [{"name": "", "rows": [{"name": "PSNR", "metric": "psnr"}]}]}
    table = build(tmp_path, spec)
    assert table.partial() == ["the file has 700 of 779 rows: live (original): psnr"]
    assert {cell.mark for cell in table.cells} == {""}, "nothing is shown of it"


def test_further_columns_stand_beside_the_coefficients_and_have_no_figure(scores):
    table = build(scores, also=["rmse", "srcc_per_ref", "plcc"])
    assert [column[1:] for column in table.columns] == [
        (perturbation, statistic) for perturbation in ("original", "rotate")
        for statistic in ("plcc", "srcc", "rmse", "srcc_per_ref")]
    assert [cell.printed for cell in table.rows[1].cells] == [0.1, 0.2, None, None, 0.3, None, None, None]
    assert table.rows[0].cells[3].value == pytest.approx(1.0, abs=1e-12)  # two references of two pairs each


def test_differences_are_one_line_a_reason(tmp_path):
    rows = official_rows("live")
    perturbations = ("original", "translate", "dilate", "rotate")
    for seed, metric in enumerate(("dists", "fsimc")):
        for number, perturbation in enumerate(perturbations):
            write_official(tmp_path / file_name(ScoreKey("live", metric, perturbation)), rows,
                           noisy(rows, 10 * seed + number, sigma=15 + 10 * seed))
    spec = {**SPEC, "datasets": ["live"], "labels": {"live": "LIVE"}, "perturbations": perturbations,
            "coefficients": ["srcc"]}

    def judged(figures):
        groups = [{"name": "", "rows": [{"name": metric, "metric": metric, "printed": figures.get(metric, ())}
                                        for metric in ("dists", "fsimc")]}]
        return build(tmp_path, {**spec, "groups": groups})

    fsimc = [round(cell.value, 3) for cell in judged({}).rows[1].cells]
    (line,) = judged({"dists": fsimc, "fsimc": fsimc}).differences()
    assert line.startswith(
            "mislabelled: dists: the files of dists disagree in all 4 cells of this row, those of fsimc")
    one, two = judged({"fsimc": [0.1, *fsimc[1:3], 0.2]}).differences()
    assert (one.startswith("drift: fsimc/live/original/srcc: 0."),
            one.endswith(" is not 0.100")) == (True, True)
    assert (two.startswith("drift: fsimc/live/rotate/srcc: 0."),
            two.endswith(" is not 0.200")) == (True, True)
    empty = tmp_path / "live_fsim.csv"
    empty.rename(tmp_path / "live_fsim copy.csv")
    write_official(empty, [], [])
    assert judged({"fsimc": fsimc}).differences() == [
        "wrong file: fsimc/live/original: live_fsim.csv: 0 of 779 rows; taken from live_fsim copy.csv, "
        "which is whole"]


def test_the_long_table_has_the_columns_that_the_project_promises(scores):
    frame = to_frame([build(scores)])
    assert frame.columns.to_list()[:13] == ["table", "method", "representation", "distance",
                                            "dataset", "perturbation",
                                            "metric", "paper", "value", "delta",
                                            "verdict", "n", "source file"]
    assert len(frame) == 8
    line = frame.iloc[3]
    assert line[["table", "method", "representation", "distance", "dataset", "perturbation", "metric",
                 "verdict", "n",
                 "source file"]].to_list() == ["small", "net", "features", "l2", "set",
                                               "rotate", "srcc", "", 3,
                                               "set/net-features-l2/rotate.csv"]
    assert frame["paper"].to_list()[4:7] == [0.1, 0.2, 0.3]
    assert frame["delta"].isna().all()


def test_a_table_at_another_scale_has_its_scores_and_no_printed_figure(scores):
    write_stored(scores, ScoreKey("set", "net-features-l2@short_224", "original"), [4.0, 2.0, 3.0, 1.0],
                 [1.0, 2.0, 3.0, 5.0])
    assert stored_scales(open_folder(scores)) == ["short_224"]
    rows = [*SPEC["groups"][0]["rows"], {"name": "at 256", "metric": "net-features-l2@short_256"}]
    groups = [{"name": "l2", "rows": rows}, SPEC["groups"][1]]
    table = build(scores, at_scale({**SPEC, "groups": groups}, "short_224"))
    assert (table.name, table.title) == ("small_short_224", "A table, at short_224")
    assert [row.metric for row in table.rows] == ["net-features-l2@short_224", "net-features-wsd@short_224"]
    assert table.rows[0].cells[1].value == pytest.approx(0.8)  # a distance: ranks 4 2 3 1
    assert all(cell.printed is None for cell in table.cells)
    line = to_frame([table]).iloc[0]
    assert line[["method", "representation", "distance", "scale"]].to_list() == ["net", "features", "l2",
                                                                                 "short_224"]


def test_verdicts_are_counted_over_tables_for_printed_cells(scores):
    spec = {**SPEC, "groups": [{"name": "", "rows": [{"name": "", "metric": "net-features-l2",
                                                      "printed": [0.983, 0.5, None, -1.0]}]}]}
    tables = [build(scores, spec), build(scores)]
    assert count_verdicts(tables) == {**dict.fromkeys(VERDICTS, 0), "match": 2, "drift": 1, "missing": 3}
    assert list(count_verdicts([])) == list(VERDICTS)
    assert to_frame(tables)["delta"][1] == pytest.approx(0.5, abs=1e-12), "value minus figure"


def test_every_declared_table_can_be_built(tmp_path):
    assert table_names() == ["demo", "demo_short", "extended", "liao2024", "table1", "table2", "table3"]
    for name in table_names():
        for spec in read_specs(name):
            table = build(tmp_path, spec)
            assert table.name.startswith(name)
            metrics = [row.metric for row in table.rows]
            assert len(metrics) == len(set(metrics)), "one row a metric"
            assert len(
                    {(group.name, row.name) for group in table.groups for row in group.rows}) == len(metrics)
            assert set(table.labels) >= {column.dataset for column in table.columns}
            assert {cell.verdict for cell in table.cells} == {"missing"}


def test_the_extended_table_is_one_of_all_metrics_for_each_data_set(tmp_path):
    specs = read_specs("extended")
    assert [spec["name"] for spec in specs] == ["extended_live", "extended_tid2013", "extended_pipal"]
    assert [spec["datasets"] for spec in specs] == [["live"], ["tid2013"], ["pipal"]]
    assert [spec["title"] for spec in specs] == ["All metrics: LIVE",
                                                 "All metrics: TID2013", "All metrics: PIPAL"]
    for spec in specs:
        table = build(tmp_path, spec)
        assert {row.metric for row in table.rows} == set(conventions()["metrics"])
        assert len(table.columns) == 12
        assert count_verdicts([table]) == dict.fromkeys(VERDICTS, 0)


def test_the_figures_are_those_of_the_paper_in_its_order(shared, tmp_path):
    with (shared / "paper/cells.csv").open(newline="") as stream:
        printed = list(csv.DictReader(stream))
    expected = [(f"table{one['table']}", one["name"], one["representation"], one["distance"], one["dataset"],
                 one["perturbation"], one["metric"], float(one["value"]), one["official_file"])
                for one in printed]
    cells = [(table, row.metric, cell) for table in PAPER for spec in read_specs(table)
             for row in build(tmp_path, spec).rows for cell in row.cells]
    assert [(table, *split_metric(metric), *cell.column, cell.printed,
             file_name(ScoreKey(cell.column.dataset, metric, cell.column.perturbation)))
            for table, metric, cell in cells] == expected
    assert Counter(table for table, *_ in cells) == {"table1": 80, "table2": 256, "table3": 420}


@pytest.fixture(scope="module")
def paper(authors):
    """The paper's tables from the authors' files."""
    measurer = Measurer(open_folder(authors))
    return [build_table(spec, measurer) for name in PAPER for spec in read_specs(name)]


SWAPPED = {f"clip_{one}-{readout}-cosine": f"clip_{other}-{readout}-cosine" for readout
           in ("features", "embedding")
           for one, other in (("rn50", "convnext"), ("convnext", "rn50"))}


def test_every_cell_of_live_and_tid2013_is_explained(paper):
    judged = [(table.name, row.metric, cell) for table in paper for row in table.rows for cell in row.cells
              if cell.column.dataset in ("live", "tid2013")]
    assert len(judged) == 40 + 256
    odd = [(table, metric, cell.verdict, cell.other) for table, metric,
           cell in judged if cell.verdict != "match"]
    assert Counter(odd) == {("table1", metric, "mislabelled", (other,)): 4 for metric,
                            other in SWAPPED.items()}
    for _, _, cell in judged:
        assert cell.n == cell.expected == {"live": 779, "tid2013": 3000}[cell.column.dataset]
        assert (abs(cell.delta) <= 0.0005 + 1e-9) == (cell.verdict == "match")


def test_every_cell_of_pipal_whose_file_is_there_is_explained(paper, authors):
    judged = [(row.metric, cell) for table in paper for row in table.rows for cell in row.cells
              if cell.column.dataset == "pipal"]
    assert len(judged) == 40 + 420
    there = [(metric, cell) for metric, cell in judged
             if (authors / file_name(ScoreKey("pipal", metric, cell.column.perturbation))).is_file()]
    assert {cell.verdict for _, cell in there} <= {"match", "mislabelled", "wrong file"}
    assert {(metric, cell.source) for metric, cell in there if cell.verdict == "wrong file"} == {
        ("imagenet_vit-features-cosine", "pipal_imagenet_vit_cos copy.csv")}
    assert {metric for metric, cell in there if cell.verdict == "mislabelled"} <= set(SWAPPED)
    assert {cell.verdict for metric, cell in judged if (metric, cell) not in there} == {"missing"}


def test_the_verdicts_of_the_authors_files_add_up(paper):
    counts = count_verdicts(paper)
    assert {**dict.fromkeys(VERDICTS, 0),
            **Counter(cell.verdict for table in paper for cell in table.cells)} == counts
    assert sum(counts.values()) == 756
    assert counts["drift"] == 0
    frame = to_frame(paper)
    assert frame["verdict"].value_counts().to_dict() == {name: count
                                                         for name, count in counts.items() if count}
    assert np.array_equal(frame["value"].isna(), frame["verdict"] == "missing")
