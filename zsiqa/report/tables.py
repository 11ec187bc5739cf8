"""Write tables as Markdown, LaTeX (booktabs) or HTML, marked as in the paper.

In every column the best value is red, the second best blue, and the best of each group underlined; Markdown
uses bold and italic instead of colours. Values are compared after rounding to the three printed decimals, so
values that look equal are marked equally. A figure in brackets is the paper's, where the value does not agree
with it. `p` marks a value that uses only some of the pairs; it is not ranked among values of all pairs. A
mark that all rows or all values have is stated once, below the table.
"""

from __future__ import annotations

import html
import itertools
import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from zsiqa.evaluation.tables import Row, Table, to_frame
from zsiqa.evaluation.verdicts import PARTIAL, Cell, Column, agrees
from zsiqa.releases import describe_uses
from zsiqa.report.formats import csv_link, html_list, to_csv
from zsiqa.report.marks import USE_MEANS, named, shared_marks, unless

BEST, SECOND, BEST_OF_GROUP = "best", "second", "best of group"
LEGEND = ("{best}: best of the column; {second}: second best; {group}: best of its group. "
          "[0.000]: {figures} this instead. {partial}: not of all pairs. {nothing}: no scores. "
          + " ".join(f"{mark}: {meaning}." for mark, meaning in USE_MEANS.items()))
LOWER_IS_BETTER = ("rmse",)
NEITHER_IS_BETTER = ("between_share",)
LATEX_ESCAPES = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
                 "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
                 **{character: f"\\{character}" for character in "&%$#_{}"},
                 # After the end of a row, LaTeX would read these as options of the line break.
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
td.mislabelled { background: #fff0c8; } td.wrong-file { background: #e2efff; } \
td.drift { background: #ffd9d9; }
td.missing { background: #f0f0f0; } ul { padding-left: 1.2rem; } .wide { overflow-x: auto; }
"""


def to_markdown(tables: Sequence[Table]) -> str:
    """Write tables as GitHub Markdown: best bold, second best italic, best of a group underlined."""
    def escape(text: str) -> str:
        return re.sub(r"([\\|*_`\[\]<>])", r"\\\1", text)

    wrap = {BEST: "**{}**", SECOND: "*{}*", BEST_OF_GROUP: "<ins>{}</ins>"}
    parts = []
    for table in tables:
        heads = [*map(escape, table.stub),
                 *("<br>".join(map(escape, _column_names(table, column))) for column in table.columns)]
        lines = [f"## {escape(table.title)}", "", "| " + " | ".join(heads) + " |",
                 "|---|---|" + "---:|" * len(table.columns)]
        shared = shared_marks(table)
        for group in _marked_rows(table):
            for heading, row, marks in group:
                cells = [_wrapped(cell, names, wrap, "-") + escape(unless(shared, cell.mark))
                         + (f" [{cell.printed:.3f}]" if differs(cell) else "")
                         for cell, names in zip(row.cells, marks, strict=True)]
                lines.append("| " + " | ".join([escape(heading), escape(named(row, shared)), *cells]) + " |")
        parts.append("\n".join([*lines, "", *(f"- {escape(line)}" for line in remarks(table) if line)]))
    legend = _legend(tables, best="**bold**", second="*italic*", group="<ins>underlined</ins>",
                           partial=escape(PARTIAL), nothing="-")
    return "\n\n".join([*parts, legend]) + "\n"


def to_latex(table: Table) -> str:
    """Write a `tabular` to include in a document that loads booktabs and xcolor."""
    wrap = {BEST: r"\textcolor{{red}}{{{}}}", SECOND: r"\textcolor{{blue}}{{{}}}",
            BEST_OF_GROUP: r"\underline{{{}}}"}
    lines = [r"\begin{tabular}{ll" + "c" * len(table.columns) + "}", r"\toprule"]
    levels = spans_of(table)
    for level, spans in enumerate(levels):
        stub = table.stub if level == len(levels) - 1 else ("", "")
        heads = [rf"\multicolumn{{{width}}}{{c}}{{{_tex(text)}}}" if width > 1 else _tex(text)
                 for text, width, _ in spans]
        lines.append(" & ".join([*map(_tex, stub), *heads]) + r" \\")
        lines += [rf"\cmidrule(lr){{{start + 3}-{start + width + 2}}}"
                  for _, width, start in spans if width > 1]
    shared = shared_marks(table)
    for group in _marked_rows(table):
        lines.append(r"\midrule")
        for heading, row, marks in group:
            cells = [_wrapped(cell, names, wrap, "--") + _tex(unless(shared, cell.mark))
                     + (rf" {{\scriptsize [{cell.printed:.3f}]}}" if differs(cell) else "")
                     for cell, names in zip(row.cells, marks, strict=True)]
            cells = [text.replace("-0.", "$-$0.") for text in cells]
            lines.append(" & ".join([_tex(heading), _tex(named(row, shared)), *cells]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def to_latex_document(tables: Sequence[Table]) -> str:
    """Write a LaTeX document that includes the files `<name>.tex` of `to_latex`, one after the other."""
    legend = _legend(tables, best=r"\textcolor{red}{red}", second=r"\textcolor{blue}{blue}",
                           group=r"\underline{underlined}", partial=_tex(PARTIAL), nothing="--")
    lines = [r"\documentclass{article}", r"\usepackage[a4paper,landscape,margin=12mm]{geometry}",
             r"\usepackage{booktabs,xcolor,graphicx}",
             # Shrinks a box that is wider or higher than the page; never enlarges one.
             r"\newcommand{\fit}[1]{\sbox0{#1}%",
             r"  \ifdim\wd0>\linewidth\sbox0{\resizebox{\linewidth}{!}{\usebox0}}\fi",
             r"  \ifdim\dimexpr\ht0+\dp0\relax>0.85\textheight"
             r"\sbox0{\resizebox*{!}{0.85\textheight}{\usebox0}}\fi",
             r"  \usebox0}", r"\begin{document}", r"\pagestyle{empty}"]
    for table in tables:
        lines += [r"\begin{table}[p]\centering\small", rf"\textbf{{{_tex(table.title)}}}\par\medskip",
                  rf"\fit{{\input{{{table.name}.tex}}}}",
                  rf"\par\medskip\footnotesize {legend}", r"\end{table}"]
    lines += [r"\clearpage\footnotesize\raggedright"]
    for table in tables:
        lines += [rf"\par\medskip\textbf{{{_tex(table.title)}}}",
                  *(rf"\par {_tex(line)}" for line in remarks(table) if line)]
    return "\n".join([*lines, r"\end{document}"]) + "\n"


def to_html(tables: Sequence[Table]) -> str:
    """Write a self-contained HTML page; the tooltip of a cell gives its details."""
    return (f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>zsiqa: tables</title>\n'
            f"<style>{HTML_STYLE}</style>\n{to_html_part(tables)}</html>\n")


def to_html_part(tables: Sequence[Table]) -> str:
    """Write the tables and their legend, for a page with the style rules of `HTML_STYLE`.

    `data-columns` of a table has the data set and the perturbation of each column, `data-metric` of a row its
    metric. A cell with a printed figure has this figure in `data-paper`, value minus figure in `data-delta`.
    """
    parts = []
    for table in tables:
        heads, shared = [], shared_marks(table)
        levels = spans_of(table)
        for level, spans in enumerate(levels):
            stub = "".join(f"<th>{html.escape(name if level == len(levels) - 1 else '')}</th>"
                           for name in table.stub)
            heads.append(f"<tr>{stub}" + "".join(f'<th colspan="{width}">{html.escape(text)}</th>'
                                                 for text, width, _ in spans) + "</tr>")
        bodies = []
        for group in _marked_rows(table):
            lines = []
            for heading, row, marks in group:
                cells = "".join(_html_cell(cell, names, table.figures, shared)
                                for cell, names in zip(row.cells, marks, strict=True))
                lines.append(f'<tr data-metric="{html.escape(row.metric)}"><th>{html.escape(heading)}</th>'
                             f'<th title="{html.escape(row.metric)}">{html.escape(named(row, shared))}</th>'
                             f"{cells}</tr>")
            bodies.append('<tbody class="group">' + "\n".join(lines) + "</tbody>")
        link = csv_link(table.name, to_frame([table]))
        columns = html.escape(json.dumps([column[:2] for column in table.columns]))
        parts.append(f'<div class="wide"><table data-columns="{columns}">'
                     f"<caption>{html.escape(table.title)}</caption>\n<thead>{''.join(heads)}</thead>\n"
                     f"{''.join(bodies)}</table></div>\n{link}\n{html_list(filter(None, remarks(table)))}")
    legend = _legend(tables, best='<span class="best">red</span>', second='<span class="second">blue</span>',
                           group='<span class="group-best">underlined</span>',
                           partial=PARTIAL, nothing="-")
    return ("\n".join(parts) + f"\n<p>{legend} Backgrounds: yellow mislabelled, blue wrong file, red drift, "
            f"grey missing.</p>")


def write_tables(tables: Sequence[Table], folder: Path, formats: Sequence[str]) -> list[Path]:
    """Write the tables into a folder; create it if necessary.

    Args:
        tables: all tables.
        folder: of `tables.md`, `tables.html`, `cells.csv`; in LaTeX, `<name>.tex` and the page `tables.tex`.
        formats: of md, html, csv, tex.

    Returns:
        Paths of the files.
    """
    files = {}
    if "md" in formats:
        files["tables.md"] = to_markdown(tables)
    if "html" in formats:
        files["tables.html"] = to_html(tables)
    if "csv" in formats:
        files["cells.csv"] = to_csv(to_frame(tables))
    if "tex" in formats:
        files |= {f"{table.name}.tex": to_latex(table) for table in tables}
        files["tables.tex"] = to_latex_document(tables)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in files]


def remarks(table: Table) -> list[str]:
    """List remarks about the cells of a table, after an empty line."""
    shared = shared_marks(table)
    return ["", *filter(None, [table.pairs_used()]), *table.partial(), *table.problems, *table.notes,
            *(f"all: {meaning}" for mark, meaning in USE_MEANS.items() if mark in shared),
            *describe_uses((row.metric, row.use) for row in table.rows), *table.differences(),
            *table.missing()]


def _marked_rows(table: Table) -> list[list[tuple[str, Row, list[set[str]]]]]:
    """List the rows of each group: group name (first row only, else ""), row, marks of its cells."""
    groups: list[list[tuple[str, Row, list[set[str]]]]] = [
        [("" if number else group.name, row, [set() for _ in row.cells])
         for number, row in enumerate(group.rows)]
        for group in table.groups]
    for place, column in enumerate(table.columns):
        if column.statistic not in NEITHER_IS_BETTER:
            by_group = [[(row.cells[place], marks[place]) for _, row, marks in group] for group in groups]
            _mark(list(itertools.chain(*by_group)), column, (BEST, SECOND))
            for cells in by_group:
                _mark(cells, column, (BEST_OF_GROUP,))
    return groups


def _mark(cells: Sequence[tuple[Cell, set[str]]], column: Column, names: Sequence[str]) -> None:
    """Add `names` to the marks of the cells with the best value, the second best, and so on."""
    if len(cells) < 2:
        return
    # A value of few pairs can be high by chance, so it is not ranked among values of all pairs.
    cells = [(cell, marks) for cell, marks in cells if not cell.mark] or cells
    values = {round(cell.value, 3) for cell, _ in cells if not math.isnan(cell.value)}
    best_first = sorted(values, reverse=column.statistic not in LOWER_IS_BETTER)
    for name, value in zip(names, best_first, strict=False):
        for cell, marks in cells:
            if round(cell.value, 3) == value:
                marks.add(name)


def differs(cell: Cell) -> bool:
    """Return whether the printed figure must stand beside the value."""
    return cell.printed is not None and not agrees(cell.value, cell.printed)


def _wrapped(cell: Cell, marks: set[str], wrap: Mapping[str, str], nothing: str) -> str:
    text = nothing if math.isnan(cell.value) else f"{cell.value:.3f}"
    for mark in (BEST_OF_GROUP, BEST, SECOND):
        if mark in marks:
            text = wrap[mark].format(text)
    return text


def _html_cell(cell: Cell, marks: set[str], figures: str, shared: set[str]) -> str:
    classes = {BEST: "best", SECOND: "second", BEST_OF_GROUP: "group-best"}
    paper = "" if cell.printed is None else f"; {figures} {cell.printed:.3f}"
    account = (f"{'/'.join(cell.column)}: {cell.value:.5f}{paper}; {cell.verdict} {cell.why}; {cell.source}, "
               f"{cell.n} of {cell.expected} pairs")
    value = "-" if math.isnan(cell.value) else f"{cell.value:.3f}"
    names = " ".join(classes[mark] for mark in sorted(marks))
    printed = f" <small>[{cell.printed:.3f}]</small>" if differs(cell) else ""
    compared = ""
    if not math.isnan(cell.delta):
        delta = f"{cell.delta:+.3f}"
        compared = f' data-paper="{cell.printed:.3f}" data-delta="{delta if float(delta) else "0.000"}"'
    return (f'<td class="{cell.verdict.replace(" ", "-")}" title="{html.escape(account)}"{compared}>'
            f'<span class="{names}">{value}</span>{unless(shared, cell.mark)}{printed}</td>')


def _legend(tables: Sequence[Table], **marks: str) -> str:
    """Explain the marks, as a format writes them."""
    return LEGEND.format(figures=" or ".join(dict.fromkeys(table.figures for table in tables)), **marks)


def _tex(text: str) -> str:
    return "".join(LATEX_ESCAPES.get(character, character) for character in text)


def _column_names(table: Table, column: Column) -> list[str]:
    return [table.labels[column.dataset], column.perturbation, column.statistic.upper().replace("_", " ")]


def spans_of(table: Table) -> list[list[tuple[str, int, int]]]:
    """Return the headings by level: (text, number of columns, first column)."""
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
