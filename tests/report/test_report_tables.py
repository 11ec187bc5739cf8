import html
import math
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser

import pandas as pd
import pytest

from zsiqa.evaluation.measurement import Measurer
from zsiqa.evaluation.table_specs import PAPER, read_specs
from zsiqa.evaluation.tables import Group, Row, Table, build_table, to_frame
from zsiqa.evaluation.verdicts import Cell, Column
from zsiqa.releases import MetricFacts
from zsiqa.report.tables import to_html, to_latex, to_latex_document, to_markdown, write_tables
from zsiqa.report.text_tables import text_legend, to_text
from zsiqa.results.folder import open_folder

NAN = math.nan
HOSTILE = r"""a&b_c$d%e#f{g}h~i^j\k<b>l</b>|m"n'o*p*`q`"""


def make(groups, *, statistics=("srcc",), printed=NAN, name="small", title="Title", stub=("Group", "Row"),
         dataset="set", label="Set", used=4):
    """A table of groups {name: {row: values}}; `printed` is every cell's figure, NaN for none, of `used` of 4
    pairs."""
    columns = tuple(Column(dataset, "original", statistic) for statistic in statistics)
    figure = None if math.isnan(printed) else printed
    return Table(name, title, stub, columns, tuple(
        Group(group, tuple(Row(row, f"metric-of-{row}", tuple(
            Cell(column, value, figure,
                 *(["missing"] if math.isnan(value) else ["", "", "file.csv", used, 4]))
            for column, value in zip(columns, values, strict=True))) for row, values in rows.items()))
        for group, rows in groups.items()), {dataset: label}, (), ())


def one_column(**groups):
    return make({name: {str(place): [value] for place, value in enumerate(values)} for name,
                 values in groups.items()})


def markdown_cells(table):
    """The text of the number's cell in every row of a table with one column of numbers."""
    lines = [line for line in to_markdown([table]).splitlines() if line.startswith("|")]
    return [line.split(" | ")[-1].removesuffix(" |") for line in lines[2:]]


class Page(HTMLParser):
    """Collects the cells of the tables in a page; fails on tags that do not match."""

    VOID = ("meta",)

    def __init__(self, text):
        super().__init__()
        self.open, self.rows, self.tags = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append({"tag": tag, "text": "", "classes": set(), **dict(attributes)})
        if tag == "span" and "td" in self.open:
            self.rows[-1][-1]["classes"] = set(dict(attributes)["class"].split())

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and {"td", "th"} & set(self.open):
            self.rows[-1][-1]["text"] += data

    @property
    def numbers(self):
        return [[cell for cell in row if cell["tag"] == "td"] for row in self.rows if row[-1]["tag"] == "td"]


def html_marks(table):
    return [row[0]["classes"] for row in Page(to_html([table])).numbers]


def latex_rows(table):
    return [line.removesuffix(r" \\") for line in to_latex(table).splitlines() if line.endswith(r"\\")]


def test_the_best_is_bold_the_second_italic_and_the_best_of_a_group_underlined():
    table = one_column(a=[0.5, 0.9, 0.8], b=[0.6, 0.7])
    assert markdown_cells(table) == ["0.500", "**<ins>0.900</ins>**", "*0.800*", "0.600", "<ins>0.700</ins>"]
    assert html_marks(table) == [set(), {"best", "group-best"}, {"second"}, set(), {"group-best"}]
    assert [row.rpartition("& ")[2] for row in latex_rows(table)[3:]] == [
        "0.500", r"\textcolor{red}{\underline{0.900}}", r"\textcolor{blue}{0.800}", "0.600",
        r"\underline{0.700}"]


def made(**facts):
    """A table with a row for each of these facts about metrics."""
    table = make({"g": {name: [0.5] for name in facts}})
    rows = [replace(row, cells=tuple(replace(cell, facts=facts[row.name]) for cell in row.cells))
            for row in table.rows]
    return replace(table, groups=(replace(table.groups[0], rows=tuple(rows)),))


def test_rows_that_are_not_as_the_metrics_authors_make_them_are_marked():
    unlike = MetricFacts(unlike_authors="too small", as_authors=False)
    table = made(yes=MetricFacts(as_authors=True), no=unlike, no_either=unlike, unknown=MetricFacts())
    said = "unlike its authors: metric-of-no, metric-of-no_either: too small"
    names = ["yes", "no (s)", "no_either (s)", "unknown (?)"]
    text = to_text(table)
    assert [line[6:].rsplit("  ", 1)[0].strip() for line in text.splitlines() if " 0.500" in line] == names
    assert said in text.splitlines()
    assert text_legend([table]) == ("(s): not computed as the metric's authors compute it. (?): not known "
                                    "how the metric's authors compute it.")
    assert [row[1]["text"] for row in Page(to_html([table])).rows[-4:]] == names
    assert f"<li>{said}</li>" in to_html([table])
    assert [line.split(" | ")[1] for line in to_markdown([table]).splitlines() if "0.500" in line] == [
        name.replace("_", r"\_") for name in names]
    assert [row.split(" & ")[1] for row in latex_rows(table)[-4:]] == [
        name.replace("_", r"\_") for name in names]
    frame = to_frame([table]).set_index("method")
    assert frame["as_authors"].tolist() == ["yes", "no", "no", "unknown"]
    assert frame["unlike_authors"].tolist() == ["", "too small", "too small", ""]
    assert text_legend([made(yes=MetricFacts(as_authors=True))]) == ""


def test_a_mark_that_all_rows_have_is_stated_once():
    table, said = made(a=MetricFacts(), b=MetricFacts()), "all: not known how the metric's authors compute it"
    assert said in to_text(table).splitlines()
    assert text_legend([table]) == ""
    assert f"<li>{said}</li>" in html.unescape(to_html([table]))
    assert f"- {said}" in to_markdown([table])
    assert said in to_latex_document([table])
    for text in (to_text(table), to_html([table]).split("<p>")[0], to_latex(table)):
        assert "(?)" not in text
    unlike = MetricFacts(unlike_authors="too small", as_authors=False)
    assert "a (?)" in to_text(made(a=MetricFacts(), b=unlike))


def test_a_mark_that_all_values_have_is_stated_once():
    table = make({"g": {"x": [0.5], "y": [0.25]}}, used=3)
    assert "pairs used: Set 3 of 4" in to_text(table).splitlines()
    assert text_legend([table]) == ""
    for text in (to_text(table), to_html([table]), to_latex(table), to_markdown([table])):
        assert "0.500" in text
        assert "0.500p" not in text
        assert "p: scores of 3 of 4 pairs" not in text
    first, second = table.rows
    fewer = replace(second, cells=(replace(second.cells[0], n=2),))
    table = replace(table, groups=(replace(table.groups[0], rows=(first, fewer)),))
    assert "p: scores of 2 of 4 pairs: set (original): metric-of-y" in to_text(table).splitlines()
    assert "0.500p" in to_text(table)


def test_a_value_of_some_pairs_has_a_mark_and_says_how_many():
    table, said = make({"g": {"x": [0.5]}}, used=3), "p: scores of 3 of 4 pairs: set (original): metric-of-x"
    assert markdown_cells(table) == ["0.500p"]
    assert "p: scores of 3 of 4 pairs" in to_markdown([table])
    assert (" 0.500p\n" in to_text(table), said in to_text(table).splitlines()) == (True, True)
    assert [cell["text"] for (cell,) in Page(to_html([table])).numbers] == ["0.500p"]
    assert f"<li>{said}</li>" in to_html([table])
    assert "0.500p" in latex_rows(table)[-1]
    assert "p: not of all pairs" in to_latex_document([table])
    assert "0.500p" not in to_text(one_column(a=[0.5])), "of all pairs"
    table = one_column(a=[1.0, 0.9, 0.8])
    few = replace(table.cells[0], n=3)
    row = replace(table.rows[0], cells=(few,))
    table = replace(table, groups=(replace(table.groups[0], rows=(row, *table.rows[1:])),))
    assert html_marks(table) == [set(), {"best", "group-best"},
                                 {"second"}], "not ranked among values of all pairs"


def test_each_column_is_marked_by_itself():
    table = make({"g": {"x": [0.1, 0.9], "y": [0.2, 0.8]}}, statistics=("plcc", "srcc"))
    assert [[cell["classes"] for cell in row] for row in Page(to_html([table])).numbers] == [
        [{"second"}, {"best", "group-best"}], [{"best", "group-best"}, {"second"}]]


def test_values_that_look_equal_are_marked_equally():
    table = one_column(a=[0.9004, 0.8996, 0.7], b=[0.8004, 0.7996])
    assert html_marks(table) == [{"best", "group-best"}] * 2 + [set()] + [{"second", "group-best"}] * 2


def test_all_equal_values_are_all_the_best():
    assert html_marks(one_column(a=[0.5, 0.5])) == [{"best", "group-best"}] * 2


def test_negative_values_are_ordered_by_their_sign():
    assert html_marks(one_column(a=[-0.5, -0.1, 0.0])) == [set(), {"second"}, {"best", "group-best"}]


def test_cells_without_a_value_are_never_marked():
    table = one_column(a=[NAN, 0.2, NAN], b=[NAN, NAN])
    assert html_marks(table) == [set(), {"best", "group-best"}, set(), set(), set()]
    assert markdown_cells(table) == ["-", "**<ins>0.200</ins>**", "-", "-", "-"]


def test_a_single_row_is_best_of_nothing():
    assert html_marks(one_column(a=[0.5])) == [set()]
    assert html_marks(one_column(a=[0.5], b=[0.6])) == [{"second"}, {"best"}], "but not of its group"


def test_the_lowest_rmse_is_the_best():
    table = make({"g": {"x": [10.0], "y": [12.0], "z": [11.0]}}, statistics=("rmse",))
    assert html_marks(table) == [{"best", "group-best"}, set(), {"second"}]


@pytest.mark.parametrize(("value", "printed", "text"), [
    (0.5, 0.5, "0.500"), (0.5004, 0.5, "0.500"), (0.5005, 0.501, "0.500"), (0.502, 0.5, "0.502 [0.500]"),
    (-0.079, 0.079, "-0.079 [0.079]"), (NAN, -0.052, "- [-0.052]"), (0.5, NAN, "0.500"), (NAN, NAN, "-"),
])
def test_a_figure_that_differs_stands_in_brackets_beside_the_value(value, printed, text):
    table = make({"g": {"x": [value]}}, printed=printed)
    assert markdown_cells(table) == [text]
    assert Page(to_html([table])).numbers[0][0]["text"] == text
    assert to_text(table).splitlines()[5].split(None, 2)[2] == text
    plain = re.sub(r"\$-\$", "-", latex_rows(table)[3].rpartition(" & ")[2])
    plain = plain.replace("--", "-").replace(r"{\scriptsize [", "[").replace("]}", "]")
    assert plain == text


def test_latex_has_a_minus_and_no_hyphen():
    (*_, row) = latex_rows(make({"g": {"x": [-0.079]}}))
    assert row == "g & x & $-$0.079"


def test_plain_text_is_aligned_and_ends_with_what_must_be_said():
    table = make({"one": {"x": [0.5, -0.25], "longer": [NAN, 0.125]}}, statistics=("plcc", "rmse"),
                 printed=0.5)
    lines = to_text(table).splitlines()
    assert lines[:8] == [
        "Title",
        "",
        "                                     Set",
        "                                original",
        "Group  Row          PLCC            RMSE",
        "one    x           0.500  -0.250 [0.500]",
        "       longer  - [0.500]   0.125 [0.500]",
        "",
    ]
    assert lines[-1] == "missing: set (original): metric-of-longer"


def test_headings_span_their_columns():
    columns = [Column(dataset, perturbation, statistic) for dataset in ("one", "two")
               for perturbation in ("original", "rotate") for statistic in ("plcc", "srcc")]
    row = Row("r", "m", tuple(Cell(column, 0.5, None, "") for column in columns))
    table = Table("t", "T", ("G", "R"), tuple(columns), (Group("g", (row,)),),
                  {"one": "One", "two": "Two"}, (), ())
    heads = [[(cell["text"], int(cell["colspan"])) for cell in row[2:]] for row
             in Page(to_html([table])).rows[:3]]
    assert heads == [[("One", 4), ("Two", 4)], [("original", 2), ("rotate", 2)] * 2,
                     [("PLCC", 1), ("SRCC", 1)] * 4]
    latex = latex_rows(table)
    assert latex[0] == r" &  & \multicolumn{4}{c}{One} & \multicolumn{4}{c}{Two}"
    assert latex[2] == "G & R" + " & PLCC & SRCC" * 4
    assert r"\cmidrule(lr){3-6}" in to_latex(table)
    assert r"\cmidrule(lr){7-10}" in to_latex(table)
    assert "One<br>original<br>PLCC" in to_markdown([table])


@pytest.fixture(scope="module")
def hostile():
    """Every text that a table takes from elsewhere holds what the formats give a meaning to."""
    table = make({HOSTILE: {HOSTILE: [0.5, NAN], "y": [-0.6, 0.7]}, "[l2]": {"[x]": [0.1, 0.2]}}, printed=0.5,
                 statistics=("plcc", "srcc"), name="hostile", title=HOSTILE, stub=(HOSTILE, "[Row]"),
                 dataset=HOSTILE,
                 label=HOSTILE)
    return Table(**{**vars(table), "notes": (HOSTILE,)})


def test_hostile_names_do_not_break_html(hostile):
    page = Page(to_html([hostile]))
    assert {"b", "script"}.isdisjoint(page.tags)
    assert [len(row) for row in page.numbers] == [2, 2, 2]
    assert page.rows[2][0]["text"] == HOSTILE
    assert page.rows[0][2]["text"] == HOSTILE
    assert [cell["text"] for cell in page.rows[3][:2]] == [HOSTILE, HOSTILE]
    assert page.rows[3][1]["title"] == f"metric-of-{HOSTILE}"
    assert page.numbers[0][0]["title"].startswith(f"{HOSTILE}/original/plcc: 0.50000; the paper prints 0.500")


def test_hostile_names_do_not_break_markdown(hostile):
    lines = to_markdown([hostile]).splitlines()
    head, _, first, *_ = rows = [re.split(r"(?<!\\)\|", line) for line in lines if line.startswith("|")]
    assert [len(row) for row in rows] == [6] * 5, "a bar in a name is no border"
    names = [head[1], head[3].partition("<br>")[0], first[1], first[2], lines[0].removeprefix("##"),
             next(line for line in lines if line.startswith("- a"))[1:]]
    for name in names:
        assert re.sub(r"\\(.)", r"\1", name).strip() == HOSTILE
        assert not re.search(r"(?<!\\)[|*_`<>\[\]]", name.replace("\\\\", ""))


def test_hostile_names_do_not_break_latex(hostile):
    text = to_latex(hostile)
    assert text.count(
            r"a\&b\_c\$d\%e\#f\{g\}h\textasciitilde{}i\textasciicircum{}j\textbackslash{}k\textless{}b\text"
                      r"greater{}l\textless{}/b\textgreater{}\textbar{}m") == 4, "stub, data set, group, row"
    assert "a&b" not in text
    for line in text.splitlines():
        assert not line.startswith(("[", "*")), r"\\ and \midrule would take these for arguments of theirs"


@pytest.fixture(scope="module")
def paper(tmp_path_factory):
    """The paper's tables without scores, and all others: every figure stands in brackets."""
    measurer = Measurer(open_folder(tmp_path_factory.mktemp("empty")))
    return [build_table(spec, measurer) for name in (*PAPER, "extended", "demo", "demo_short")
            for spec in read_specs(name)]


def test_every_row_of_latex_has_all_its_cells(paper, hostile):
    for table in [*paper, hostile]:
        bare = re.sub(r"\\(textbackslash\{\}|[{}&])", "", to_latex(table))
        depth = 0
        for character in bare:
            depth += {"{": 1, "}": -1}.get(character, 0)
            assert depth >= 0
        assert depth == 0
        rows = [line for line in bare.splitlines() if line.endswith(r"\\")]
        for line in rows:
            spanned = sum(int(width) - 1 for width in re.findall(r"\\multicolumn\{(\d+)\}", line))
            assert line.count("&") + spanned == len(table.columns) + 1
        assert len(rows) == 3 + len(table.rows)
        assert bare.count(r"\midrule") == len(table.groups)
        assert [bare.count(rule) for rule in (r"\toprule", r"\bottomrule")] == [1, 1]


def test_html_has_one_cell_for_every_number(paper):
    page = Page(to_html(paper))
    assert len(page.numbers) == sum(len(table.rows) for table in paper)
    cells = [cell for row in page.numbers for cell in row]
    expected = [cell for table in paper for cell in table.cells]
    assert [cell["text"] for cell in cells] == ["-" if cell.printed is None else f"- [{cell.printed:.3f}]"
                                                for cell in expected]
    assert {cell["class"] for cell in cells} == {"missing"}
    wide = [sum(int(cell.get("colspan", 1)) for cell in row) for row in page.rows]
    assert wide == [len(table.columns) + 2 for table in paper for _ in range(3 + len(table.rows))]


def test_markdown_has_one_cell_for_every_number(paper):
    rows = [line for line in to_markdown(paper).splitlines() if line.startswith("|")]
    assert [line.count("|") for line in rows] == [len(table.columns) + 3 for table in paper
                                                  for _ in range(2 + len(table.rows))]


def test_verdicts_colour_the_cells_of_html():
    table = one_column(a=[0.5, 0.6, 0.7, 0.8])
    names = ["match", "mislabelled", "wrong file", "drift"]
    rows = [
        Row(row.name, row.metric, (Cell(row.cells[0].column, 0.5, 0.4, verdict, why=f"because <{verdict}>"),))
            for row, verdict in zip(table.rows, names, strict=True)]
    text = to_html([Table(**{**vars(table), "groups": (Group("a", tuple(rows)),)})])
    numbers = [row[0] for row in Page(text).numbers]
    assert [cell["class"] for cell in numbers] == ["match", "mislabelled", "wrong-file", "drift"]
    assert [f"because <{name}>" in cell["title"] for name,
            cell in zip(names, numbers, strict=True)] == [True] * 4
    for name in ("mislabelled", "wrong-file", "drift", "missing"):
        assert f"td.{name} " in text, "the style sheet knows it"


PDFLATEX = pytest.mark.skipif(not shutil.which("pdflatex"), reason="no pdflatex here")


def compiled(tables, folder):
    write_tables(tables, folder, ["tex"])
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "tables.tex"], cwd=folder,
                          capture_output=True, text=True, errors="replace", check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert (folder / "tables.pdf").read_bytes().startswith(b"%PDF")
    return done.stdout


@PDFLATEX
def test_latex_compiles_and_each_table_fits_its_page(paper, tmp_path):
    said = compiled(paper, tmp_path)
    assert "Overfull" not in said
    assert "too large" not in said


@PDFLATEX
def test_latex_with_hostile_names_compiles(hostile, tmp_path):
    assert "Overfull" not in compiled([hostile], tmp_path)


def test_names_like_formulas_have_an_apostrophe_in_the_csv(tmp_path):
    write_tables([make({"g": {"x": [-0.5]}}, dataset="=cmd|x")], tmp_path, ["csv"])
    (row,) = pd.read_csv(tmp_path / "cells.csv").to_dict("records")
    assert (row["dataset"], row["value"]) == ("'=cmd|x", -0.5)


@pytest.mark.parametrize(("formats", "names"), [
    (["md"], ["tables.md"]), (["html"], ["tables.html"]), (["csv"], ["cells.csv"]),
    (["tex"], ["small.tex", "other.tex", "tables.tex"]), ([], []),
    (["csv", "tex", "md", "html"],
     ["tables.md", "tables.html", "cells.csv", "small.tex", "other.tex", "tables.tex"]),
])
def test_what_is_written_is_what_was_asked_for(tmp_path, formats, names):
    tables = [make({"g": {"x": [0.5]}}), make({"g": {"ä": [0.25]}}, name="other", printed=0.5)]
    folder = tmp_path / "new/folder"
    assert write_tables(tables, folder, formats) == [folder / name for name in names]
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)
    contents = {"tables.md": to_markdown(tables), "tables.html": to_html(tables),
                "small.tex": to_latex(tables[0]),
                "other.tex": to_latex(tables[1]), "tables.tex": to_latex_document(tables)}
    for name in set(names) - {"cells.csv"}:
        assert (folder / name).read_text(encoding="utf-8") == contents[name]
    if "csv" in formats:
        pd.testing.assert_frame_equal(pd.read_csv(folder / "cells.csv", keep_default_na=False, na_values={
            name: [""] for name in ("paper", "value", "delta")}), to_frame(tables), check_dtype=False)
