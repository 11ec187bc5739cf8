"""A filled-in table as plain text, Markdown, LaTeX (booktabs) or HTML, marked as in the paper.

In every column the best value is red, the second best blue, and the best of each group underlined; Markdown has bold
and italic instead of colours. Marks go by the three printed decimals, so values that look equal are marked equally.
A figure in brackets is the paper's, where the value does not agree with it. A star is at a value of some pairs only,
which is not ranked among those of all pairs.
"""

from __future__ import annotations

import html
import itertools
import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from zsiqa.evaluation.tables import Group, Row, Table, to_frame
from zsiqa.evaluation.verdicts import PARTIAL, Cell, Column, agrees

BEST, SECOND, BEST_OF_GROUP = "best", "second", "best of group"
LEGEND = ("{best}: best of the column; {second}: second best; {group}: best of its group. "
          "[0.000]: the paper prints this instead. {partial}: not of all pairs. {nothing}: no scores.")
LOWER_IS_BETTER = ("rmse",)
NEITHER_IS_BETTER = ("between_share",)
LATEX_ESCAPES = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
                 "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
                 **{character: f"\\{character}" for character in "&%$#_{}"},
                 # Behind the end of a row, these would be taken for its options.
                 **{character: f"{{{character}}}" for character in "[]*"}}
HTML_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem; color: #1b1b1b; background: #fff; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .6rem 0 1rem; }
caption { text-align: left; font-weight: 600; padding: .4rem 0; }
th, td { padding: .2rem .55rem; text-align: right; white-space: nowrap; }
th { font-weight: 600; } thead th { text-align: center; border-bottom: 1px solid #999; }
tbody th { text-align: left; } tbody.group { border-top: 1px solid #bbb; }
table { border-top: 2px solid #333; border-bottom: 2px solid #333; }
.best { color: #c00000; font-weight: 700; } .second { color: #0040c0; font-weight: 700; }
.group-best { text-decoration: underline; } small { color: #666; }
td.mislabelled { background: #fff0c8; } td.wrong-file { background: #e2efff; } td.drift { background: #ffd9d9; }
td.missing { background: #f0f0f0; } ul { padding-left: 1.2rem; } .wide { overflow-x: auto; }
"""


def to_text(table: Table) -> str:
    """For a terminal: aligned columns, without marks; then what must be said about the cells."""
    grid = [*_heading_rows(table), *([group.name if first else "", row.name, *(_plain(cell) for cell in row.cells)]
                                     for group in table.groups for first, row in _first(group))]
    widths = [max(map(len, column)) for column in zip(*grid, strict=True)]
    lines = ["  ".join(text.ljust(width) if place < 2 else text.rjust(width)
                       for place, (text, width) in enumerate(zip(line, widths, strict=True))).rstrip() for line in grid]
    return "\n".join([table.title, "", *lines, *_remarks(table)])


def to_markdown(tables: Sequence[Table]) -> str:
    """GitHub's Markdown: bold and italic for the best and the second best, underlined for the best of a group."""
    def escape(text: str) -> str:
        return re.sub(r"([\\|*_`\[\]<>])", r"\\\1", text)

    wrap = {BEST: "**{}**", SECOND: "*{}*", BEST_OF_GROUP: "<ins>{}</ins>"}
    parts = []
    for table in tables:
        marks = _marks(table)
        heading = [*map(escape, table.stub),
                   *("<br>".join(map(escape, _column_names(table, column))) for column in table.columns)]
        lines = [f"## {escape(table.title)}", "", "| " + " | ".join(heading) + " |",
                 "|---|---|" + "---:|" * len(table.columns)]
        for group in table.groups:
            for first, row in _first(group):
                cells = [_wrapped(cell, marks[id(cell)], wrap, "-")
                         + escape(cell.mark) + (f" [{cell.printed:.3f}]" if _differs(cell) else "")
                         for cell in row.cells]
                lines.append("| " + " | ".join([escape(group.name) if first else "", escape(row.name), *cells]) + " |")
        parts.append("\n".join([*lines, "", *(f"- {escape(line)}" for line in _remarks(table) if line)]))
    legend = LEGEND.format(best="**bold**", second="*italic*", group="<ins>underlined</ins>",
                           partial=escape(PARTIAL), nothing="-")
    return "\n\n".join([*parts, legend]) + "\n"


def to_latex(table: Table) -> str:
    """A `tabular` to include in a document that loads booktabs and xcolor."""
    marks = _marks(table)
    wrap = {BEST: r"\textcolor{{red}}{{{}}}", SECOND: r"\textcolor{{blue}}{{{}}}", BEST_OF_GROUP: r"\underline{{{}}}"}
    lines = [r"\begin{tabular}{ll" + "c" * len(table.columns) + "}", r"\toprule"]
    levels = _spans(table)
    for level, spans in enumerate(levels):
        stub = table.stub if level == len(levels) - 1 else ("", "")
        heads = [rf"\multicolumn{{{width}}}{{c}}{{{_tex(text)}}}" if width > 1 else _tex(text)
                 for text, width, _ in spans]
        lines.append(" & ".join([*map(_tex, stub), *heads]) + r" \\")
        lines += [rf"\cmidrule(lr){{{start + 3}-{start + width + 2}}}" for _, width, start in spans if width > 1]
    for group in table.groups:
        lines.append(r"\midrule")
        for first, row in _first(group):
            cells = [(_wrapped(cell, marks[id(cell)], wrap, "--") + _tex(cell.mark)
                      + (rf" {{\scriptsize [{cell.printed:.3f}]}}" if _differs(cell) else "")).replace("-0.", "$-$0.")
                     for cell in row.cells]
            lines.append(" & ".join([_tex(group.name) if first else "", _tex(row.name), *cells]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def to_latex_document(tables: Sequence[Table]) -> str:
    """A page that shows the files `<name>.tex` of `to_latex`, one after the other."""
    legend = LEGEND.format(best=r"\textcolor{red}{red}", second=r"\textcolor{blue}{blue}",
                           group=r"\underline{underlined}", partial=_tex(PARTIAL), nothing="--")
    lines = [r"\documentclass{article}", r"\usepackage[a4paper,landscape,margin=12mm]{geometry}",
             r"\usepackage{booktabs,xcolor,graphicx}",
             # Shrinks a box to the page where it is wider or higher, and never blows it up.
             r"\newcommand{\fit}[1]{\sbox0{#1}%",
             r"  \ifdim\wd0>\linewidth\sbox0{\resizebox{\linewidth}{!}{\usebox0}}\fi",
             r"  \ifdim\dimexpr\ht0+\dp0\relax>0.85\textheight\sbox0{\resizebox*{!}{0.85\textheight}{\usebox0}}\fi",
             r"  \usebox0}", r"\begin{document}", r"\pagestyle{empty}"]
    for table in tables:
        lines += [r"\begin{table}[p]\centering\small", rf"\textbf{{{_tex(table.title)}}}\par\medskip",
                  rf"\fit{{\input{{{table.name}.tex}}}}",
                  rf"\par\medskip\footnotesize {legend}", r"\end{table}"]
    lines += [r"\clearpage\footnotesize\raggedright"]
    for table in tables:
        lines += [rf"\par\medskip\textbf{{{_tex(table.title)}}}",
                  *(rf"\par {_tex(line)}" for line in _remarks(table) if line)]
    return "\n".join([*lines, r"\end{document}"]) + "\n"


def to_html(tables: Sequence[Table]) -> str:
    """One page that needs nothing else; a cell's full account shows when the mouse rests on it."""
    return (f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>zsiqa: tables</title>\n'
            f"<style>{HTML_STYLE}</style>\n{to_html_part(tables)}</html>\n")


def to_html_part(tables: Sequence[Table]) -> str:
    """The tables and their legend, for a page with the rules of `HTML_STYLE`.

    A table names the data set and the perturbation of each column in `data-columns`, a row its metric in
    `data-metric`, a cell with a printed figure that figure and its own distance from it in `data-paper` and
    `data-delta`.
    """
    parts = []
    for table in tables:
        marks = _marks(table)
        heads = []
        levels = _spans(table)
        for level, spans in enumerate(levels):
            stub = "".join(f"<th>{html.escape(name if level == len(levels) - 1 else '')}</th>" for name in table.stub)
            heads.append(f"<tr>{stub}" + "".join(f'<th colspan="{width}">{html.escape(text)}</th>'
                                                 for text, width, _ in spans) + "</tr>")
        bodies = []
        for group in table.groups:
            lines = []
            for first, row in _first(group):
                cells = "".join(_html_cell(cell, marks[id(cell)]) for cell in row.cells)
                lines.append(f'<tr data-metric="{html.escape(row.metric)}"><th>'
                             f"{html.escape(group.name if first else '')}</th>"
                             f'<th title="{html.escape(row.metric)}">{html.escape(row.name)}</th>{cells}</tr>')
            bodies.append('<tbody class="group">' + "\n".join(lines) + "</tbody>")
        remarks = "".join(f"<li>{html.escape(line)}</li>" for line in _remarks(table) if line)
        columns = html.escape(json.dumps([column[:2] for column in table.columns]))
        parts.append(f'<div class="wide"><table data-columns="{columns}"><caption>{html.escape(table.title)}</caption>'
                     f'\n<thead>{"".join(heads)}</thead>\n{"".join(bodies)}</table></div>\n<ul>{remarks}</ul>')
    legend = LEGEND.format(best='<span class="best">red</span>', second='<span class="second">blue</span>',
                           group='<span class="group-best">underlined</span>',
                           partial=PARTIAL, nothing="-")
    return ("\n".join(parts) + f"\n<p>{legend} Backgrounds: yellow mislabelled, blue wrong file, red drift, grey "
            f"missing.</p>")


def write_tables(tables: Sequence[Table], folder: Path, formats: Sequence[str]) -> list[Path]:
    """Write the tables into a folder, which is made if need be.

    Args:
        tables: all of them.
        folder: for `tables.md`, `tables.html`, `cells.csv`, and for LaTeX `<name>.tex` and a page `tables.tex`.
        formats: of md, html, csv, tex.

    Returns:
        What was written.
    """
    files = {}
    if "md" in formats:
        files["tables.md"] = to_markdown(tables)
    if "html" in formats:
        files["tables.html"] = to_html(tables)
    if "csv" in formats:
        files["cells.csv"] = to_frame(tables).to_csv(index=False, lineterminator="\n")
    if "tex" in formats:
        files |= {f"{table.name}.tex": to_latex(table) for table in tables}
        files["tables.tex"] = to_latex_document(tables)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in files]


def _remarks(table: Table) -> list[str]:
    return ["", *filter(None, [table.pairs_used()]), *table.partial(), *table.problems, *table.notes,
            *table.differences(), *table.missing()]


def _marks(table: Table) -> dict[int, set[str]]:
    """The marks of each cell, by its id."""
    marks: dict[int, set[str]] = {id(cell): set() for cell in table.cells}
    for place, column in enumerate(table.columns):
        if column.statistic in NEITHER_IS_BETTER:
            continue
        if len(table.rows) > 1:
            _mark([row.cells[place] for row in table.rows], column, marks, (BEST, SECOND))
        for group in table.groups:
            if len(group.rows) > 1:
                _mark([row.cells[place] for row in group.rows], column, marks, (BEST_OF_GROUP,))
    return marks


def _mark(cells: Sequence[Cell], column: Column, marks: Mapping[int, set[str]], names: Sequence[str]) -> None:
    cells = [cell for cell in cells if not cell.mark] or cells  # few pairs are soon perfect
    values = {round(cell.value, 3) for cell in cells if not math.isnan(cell.value)}
    for name, value in zip(names, sorted(values, reverse=column.statistic not in LOWER_IS_BETTER), strict=False):
        for cell in cells:
            if round(cell.value, 3) == value:
                marks[id(cell)].add(name)


def _differs(cell: Cell) -> bool:
    """Whether the printed figure must stand beside the value."""
    return cell.printed is not None and not agrees(cell.value, cell.printed)


def _plain(cell: Cell) -> str:
    value = ("-" if math.isnan(cell.value) else f"{cell.value:.3f}") + cell.mark
    return f"{value} [{cell.printed:.3f}]" if _differs(cell) else value


def _wrapped(cell: Cell, marks: set[str], wrap: Mapping[str, str], nothing: str) -> str:
    text = nothing if math.isnan(cell.value) else f"{cell.value:.3f}"
    for mark in (BEST_OF_GROUP, BEST, SECOND):
        if mark in marks:
            text = wrap[mark].format(text)
    return text


def _html_cell(cell: Cell, marks: set[str]) -> str:
    classes = {BEST: "best", SECOND: "second", BEST_OF_GROUP: "group-best"}
    paper = "" if cell.printed is None else f"; the paper prints {cell.printed:.3f}"
    account = (f"{'/'.join(cell.column)}: {cell.value:.5f}{paper}; {cell.verdict} {cell.why}; {cell.source}, "
               f"{cell.n} of {cell.expected} pairs")
    value = "-" if math.isnan(cell.value) else f"{cell.value:.3f}"
    names = " ".join(classes[mark] for mark in sorted(marks))
    printed = f" <small>[{cell.printed:.3f}]</small>" if _differs(cell) else ""
    compared = ""
    if not math.isnan(cell.delta):
        delta = f"{cell.delta:+.3f}"
        compared = f' data-paper="{cell.printed:.3f}" data-delta="{delta if float(delta) else "0.000"}"'
    return (f'<td class="{cell.verdict.replace(" ", "-")}" title="{html.escape(account)}"{compared}>'
            f'<span class="{names}">{value}</span>{cell.mark}{printed}</td>')


def _tex(text: str) -> str:
    return "".join(LATEX_ESCAPES.get(character, character) for character in text)


def _column_names(table: Table, column: Column) -> list[str]:
    return [table.labels[column.dataset], column.perturbation, column.statistic.upper().replace("_", " ")]


def _heading_rows(table: Table) -> list[list[str]]:
    """Headings of a text table: a name stands over the last of the columns that it spans."""
    levels = _spans(table)
    rows = []
    for level, spans in enumerate(levels):
        row = list(table.stub) if level == len(levels) - 1 else ["", ""]
        for text, width, _ in spans:
            row += [""] * (width - 1) + [text]
        rows.append(row)
    return rows


def _spans(table: Table) -> list[list[tuple[str, int, int]]]:
    """Headings, level by level: (text, number of columns, first column)."""
    levels = []
    names = [_column_names(table, column) for column in table.columns]
    for depth in (1, 2, 3):
        spans, start = [], 0
        for prefix, members in itertools.groupby(name[:depth] for name in names):
            width = len(list(members))
            spans.append((prefix[-1], width, start))
            start += width
        levels.append(spans)
    return levels


def _first(group: Group) -> list[tuple[bool, Row]]:
    """The rows of a group, each with whether it is the first."""
    return [(place == 0, row) for place, row in enumerate(group.rows)]
