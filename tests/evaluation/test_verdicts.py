import math

import numpy as np
import pytest
from conftest import noisy, official_rows, write_official
from scipy import stats

from zsiqa.evaluation.measurement import Measurer
from zsiqa.evaluation.verdicts import Column, agrees, judge_row
from zsiqa.results.folder import open_folder
from zsiqa.results.official import file_name
from zsiqa.results.scores import ScoreKey

ROWS = official_rows("live")
LABELS = np.array([mos for *_, mos in ROWS])
PERTURBATIONS = ("original", "translate", "dilate", "rotate")
COLUMNS = [Column("live", perturbation, "srcc") for perturbation in PERTURBATIONS]
METRICS = ("dists", "fsimc", "ms_ssim")  # distances, and LIVE has DMOS: no sign is turned


class Folder:
    """LIVE scores of three metrics in the authors' manner, and what a correct paper would print of them."""

    def __init__(self, root):
        self.root = root
        self.printed = {}
        for number, metric in enumerate(METRICS):
            scores = [noisy(ROWS, 10 * number + place, sigma=15.0 + 10 * number) for place in range(4)]
            for perturbation, values in zip(PERTURBATIONS, scores, strict=True):
                write_official(self.path(metric, perturbation), ROWS, values)
            self.printed[metric] = [round(float(stats.spearmanr(values, LABELS).statistic), 3)
                                    for values in scores]

    def path(self, metric, perturbation="original"):
        return self.root / file_name(ScoreKey("live", metric, perturbation))

    def copy(self, metric, perturbation="original", name="copy"):
        """The path of a file beside another one, whose name goes on."""
        path = self.path(metric, perturbation)
        return path.with_name(f"{path.stem} {name}.csv")

    def judge(self, metric, printed, columns=COLUMNS):
        return judge_row(metric, columns, printed, Measurer(open_folder(self.root)))


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path)


def cut(path, rows):
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:rows + 1]))


def verdicts(cells):
    return [cell.verdict for cell in cells]


DAMAGES = {
    "no file": lambda path: path.unlink(),
    "a header only": lambda path: cut(path, 0),
    "cut short": lambda path: cut(path, 778),
    "unreadable": lambda path: path.write_text("a,b\n1,2\n"),
    "empty": lambda path: path.write_text(""),
}
damaged = pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)


@pytest.mark.parametrize(("value", "printed", "equal"), [
    (0.632, 0.632, True), (0.63249, 0.632, True), (0.63151, 0.632, True), (0.6326, 0.632, False),
    (0.6314, 0.632, False), (0.6325, 0.632, True), (0.6325, 0.633, True), (0.6315, 0.632, True),
    (0.6315, 0.631, True),
    (-0.0785, -0.079, True), (-0.0785, -0.078, True), (-0.0004, 0.0, True), (0.5, -0.5, False),
    (math.nan, 0.5, False),
])
def test_a_value_agrees_if_it_rounds_to_the_figure_or_lies_on_the_border(value, printed, equal):
    assert agrees(value, printed) == equal


def test_match(folder):
    cells = folder.judge("dists", folder.printed["dists"])
    assert verdicts(cells) == ["match"] * 4
    for cell, printed, perturbation in zip(cells, folder.printed["dists"], PERTURBATIONS, strict=True):
        assert cell.column == ("live", perturbation, "srcc")
        assert cell.value == pytest.approx(printed, abs=0.0005)
        assert cell.delta == cell.value - printed
        assert (cell.why, cell.other, cell.n, cell.expected) == ("", (), 779, 779)
        assert cell.source == folder.path("dists", perturbation).name


def test_a_value_on_the_border_between_two_figures_matches_both(folder):
    value = folder.judge("dists", [None], COLUMNS[:1])[0].value
    for printed in (value - 0.0005, value + 0.0005):
        assert verdicts(folder.judge("dists", [printed], COLUMNS[:1])) == ["match"]
    for printed in (value - 0.00051, value + 0.00051):
        assert verdicts(folder.judge("dists", [printed], COLUMNS[:1])) == ["drift"]


def test_drift_in_one_cell(folder):
    printed = [*folder.printed["dists"][:3], folder.printed["dists"][3] - 0.002]
    cells = folder.judge("dists", printed)
    assert verdicts(cells) == ["match", "match", "match", "drift"]
    assert cells[3].why == f"{cells[3].value:.5f} is not {printed[3]:.3f}"
    assert cells[3].delta == pytest.approx(0.002, abs=0.0005)
    assert cells[3].source == "live_dists_rot-1.csv"


def test_drift_in_all_cells_if_no_other_metric_explains_it(folder):
    assert verdicts(folder.judge("dists", [0.1, 0.2, 0.3, 0.4])) == ["drift"] * 4


def test_a_file_with_gaps_that_disagrees_is_partial_and_says_how_many_pairs_it_rests_on(folder):
    scores = noisy(ROWS, 0)
    scores[:3] = math.inf
    write_official(folder.path("dists"), ROWS, scores)
    cell = folder.judge("dists", [0.1], COLUMNS[:1])[0]
    assert (cell.verdict, cell.n, cell.expected) == ("partial", 776, 779)
    assert cell.why.endswith("is not 0.100, of 776 of 779 pairs that have a usable score")


def test_drift_of_scores_that_are_all_equal(folder):
    write_official(folder.path("dists"), ROWS, np.ones(779))
    cell = folder.judge("dists", [0.1], COLUMNS[:1])[0]
    assert cell.verdict == "drift"
    assert math.isnan(cell.value)


def test_two_rows_whose_labels_are_swapped_name_each_other(folder):
    for metric, other in (("dists", "fsimc"), ("fsimc", "dists")):
        cells = folder.judge(metric, folder.printed[other])
        assert verdicts(cells) == ["mislabelled"] * 4
        assert {cell.other for cell in cells} == {(other,)}
        assert {cell.why for cell
                in cells} == {f"the files of {metric} disagree in all 4 cells of this row, those of "
                                                f"{other} agree in all 4 that they have (such as "
                                                f"{folder.path(other).name})"}
        assert cells[0].source == folder.path(metric).name, "the value is still that of the row's own file"
        assert not agrees(cells[0].value, folder.printed[other][0])


def test_all_metrics_that_explain_a_row_are_named(folder):
    for perturbation in PERTURBATIONS:
        folder.path("lpips_vgg", perturbation).write_bytes(folder.path("fsimc", perturbation).read_bytes())
    cells = folder.judge("dists", folder.printed["fsimc"])
    assert {cell.other for cell in cells} == {("fsimc", "lpips_vgg")}
    for other in ("fsimc", "lpips_vgg"):
        assert f"those of {other} agree in all 4 that they have" in cells[0].why


def test_one_cell_that_agrees_means_that_the_row_is_not_mislabelled(folder):
    printed = [folder.printed["dists"][0], *folder.printed["fsimc"][1:]]
    # so that fsimc agrees in all four cells
    folder.path("fsimc").write_bytes(folder.path("dists").read_bytes())
    assert verdicts(folder.judge("dists", printed)) == ["match", "drift", "drift", "drift"]


def test_one_cell_of_the_other_metric_that_disagrees_means_that_the_row_is_not_mislabelled(folder):
    printed = [*folder.printed["fsimc"][:3], 0.1]
    assert verdicts(folder.judge("dists", printed)) == ["drift"] * 4


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_metric_that_agrees_with_one_or_two_cells_may_do_so_by_chance(folder, count):
    cells = folder.judge("dists", folder.printed["fsimc"][:count], COLUMNS[:count])
    assert verdicts(cells) == (["mislabelled"] if count == 3 else ["drift"]) * count


def test_cells_without_a_figure_do_not_count_for_or_against_a_label(folder):
    printed = [*folder.printed["fsimc"][:2], None, folder.printed["fsimc"][3]]
    assert verdicts(folder.judge("dists", printed)) == ["mislabelled", "mislabelled", "", "mislabelled"]
    assert verdicts(folder.judge("dists", [*printed[:3], None])) == ["drift", "drift", "", ""]


@damaged
def test_a_row_with_missing_files_is_judged_on_the_cells_that_are_there(folder, damage):
    damage(folder.path("dists", "dilate"))
    cells = folder.judge("dists", folder.printed["fsimc"])
    assert verdicts(cells) == ["mislabelled", "mislabelled", "missing", "mislabelled"]
    assert cells[0].why.startswith("the files of dists disagree in all 3 cells")
    damage(folder.path("dists", "rotate"))
    assert verdicts(folder.judge("dists", folder.printed["fsimc"])) == [
            "drift", "drift", "missing", "missing"]


@damaged
def test_a_metric_explains_a_row_by_its_whole_files_at_least_three(folder, damage):
    damage(folder.path("fsimc", "dilate"))
    cells = folder.judge("dists", folder.printed["fsimc"])
    assert verdicts(cells) == ["mislabelled"] * 4
    assert "those of fsimc agree in all 3 that they have" in cells[0].why
    damage(folder.path("fsimc", "rotate"))
    assert verdicts(folder.judge("dists", folder.printed["fsimc"])) == ["drift"] * 4


@damaged
def test_wrong_file(folder, damage):
    folder.copy("dists").write_bytes(folder.path("dists").read_bytes())
    damage(folder.path("dists"))
    cells = folder.judge("dists", folder.printed["dists"])
    assert verdicts(cells) == ["wrong file", "match", "match", "match"]
    assert agrees(cells[0].value, folder.printed["dists"][0])
    assert (cells[0].source, cells[0].n, cells[0].expected) == ("live_dists copy.csv", 779, 779)
    assert "taken from live_dists copy.csv, which is whole" in cells[0].why


@pytest.mark.parametrize(("rows", "state"),
                         [(0, "live_dists.csv: 0 of 779 rows"), (6, "live_dists.csv: 6 of 779 rows"),
                                             (None, "live/dists/original: no file")])
def test_a_wrong_file_says_what_is_the_matter_with_the_right_one(folder, rows, state):
    folder.copy("dists").write_bytes(folder.path("dists").read_bytes())
    folder.path("dists").unlink() if rows is None else cut(folder.path("dists"), rows)
    assert folder.judge("dists", folder.printed["dists"])[0].why.startswith(state)


def test_the_first_copy_that_is_whole_and_agrees_is_taken(folder):
    write_official(folder.copy("dists", name="(1)"), ROWS, noisy(ROWS, 99))
    for name in ("(2)", "(3)", "(4)"):
        folder.copy("dists", name=name).write_bytes(folder.path("dists").read_bytes())
    cut(folder.copy("dists", name="(2)"), 700)
    cut(folder.path("dists"), 0)
    cell = folder.judge("dists", folder.printed["dists"])[0]
    assert (cell.verdict, cell.source) == ("wrong file", "live_dists (3).csv")


def test_a_copy_that_does_not_agree_is_no_answer(folder):
    write_official(folder.copy("dists"), ROWS, noisy(ROWS, 99))
    cut(folder.path("dists"), 0)
    cell = folder.judge("dists", folder.printed["dists"])[0]
    assert cell.verdict == "missing"
    assert math.isnan(cell.value)
    assert "0 of 779 rows" in cell.why
    assert "live_dists copy.csv: does not agree" in cell.why


def test_a_copy_that_is_not_whole_is_no_answer_and_says_why(folder):
    folder.copy("dists").write_bytes(folder.path("dists").read_bytes())
    cut(folder.copy("dists"), 778)
    cut(folder.path("dists"), 0)
    cell = folder.judge("dists", folder.printed["dists"])[0]
    assert cell.verdict == "missing"
    assert "live_dists copy.csv: 778 of 779 rows" in cell.why


def test_a_copy_never_replaces_a_whole_file(folder):
    folder.copy("dists").write_bytes(folder.path("dists").read_bytes())
    write_official(folder.path("dists"), ROWS, noisy(ROWS, 99))
    cell = folder.judge("dists", folder.printed["dists"])[0]
    assert (cell.verdict, cell.source) == ("drift", "live_dists.csv")


def test_a_wrong_file_does_not_count_for_or_against_a_label(folder):
    """The row's own (empty) file says nothing about it."""
    folder.copy("dists").write_bytes(folder.path("fsimc").read_bytes())
    cut(folder.path("dists"), 0)
    cells = folder.judge("dists", folder.printed["fsimc"])
    assert verdicts(cells) == ["wrong file", "mislabelled", "mislabelled", "mislabelled"]


@pytest.mark.parametrize(("damage", "why", "rows"), [
    (DAMAGES["no file"], "no file", 0),
    (DAMAGES["a header only"], "0 of 779 rows", 0),
    (DAMAGES["cut short"], "778 of 779 rows", 778),
    (DAMAGES["unreadable"], "expected the columns dis,ref,mos,pred, found a,b", 0),
    (DAMAGES["empty"], "expected the columns dis,ref,mos,pred, found nothing", 0),
], ids=DAMAGES)
def test_missing(folder, damage, why, rows):
    damage(folder.path("dists"))
    cells = folder.judge("dists", folder.printed["dists"])
    assert verdicts(cells) == ["missing", "match", "match", "match"]
    assert why in cells[0].why
    assert math.isnan(cells[0].value)
    assert math.isnan(cells[0].delta)
    assert (cells[0].n, cells[0].other) == (rows, ())


def test_cells_without_a_figure(folder):
    folder.copy("dists", "translate").write_bytes(folder.path("dists", "translate").read_bytes())
    cut(folder.path("dists", "translate"), 0)
    folder.path("dists", "dilate").unlink()
    cells = folder.judge("dists", [None] * 4)
    assert verdicts(cells) == ["", "", "missing", ""]
    assert [math.isnan(cell.value) for cell in cells] == [False, False, True, False]
    assert all(math.isnan(cell.delta) for cell in cells)
    assert cells[0].why == ""
    assert "taken from live_dists_tra-1 copy.csv" in cells[1].why


def test_an_unknown_metric_is_missing(folder):
    assert verdicts(folder.judge("net-features-l2", [0.5] * 4)) == ["missing"] * 4
