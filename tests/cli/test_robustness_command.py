"""`zsiqa robustness` and its part of the page, on a small store."""

import base64
import csv
import io
import json
import re

import pytest
from conftest import write_stored
from curves import METRICS, names, write_store

from zsiqa.cli.main import main
from zsiqa.report.robustness_page import robustness_part
from zsiqa.results.folder import open_folder
from zsiqa.results.scores import ScoreKey

QUICK = ("--replicates", "100")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write_store(tmp_path_factory.mktemp("curves") / "scores")


def test_terminal_and_files(store, tmp_path, capsys):
    outputs = {name: tmp_path / f"out/all.{name}" for name in ("csv", "markdown", "json")}
    assert main(["robustness", "--scores", str(store), "--figures", str(tmp_path / "figures"), *QUICK,
                 *(text for name, path in outputs.items() for text in (f"--{name}", str(path)))]) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.split("wrote ")[0].splitlines())) <= 100
    ranked = [line.split()[0] for line in text.splitlines() if line.startswith(tuple(METRICS))]
    assert ranked[:3] == ["tolerant", "fragile", "wrong"]
    assert "0.23 degrees of visual angle = 6.72 px at 29.2 pixels" in text
    points = list(csv.DictReader(io.StringIO(outputs["csv"].read_text())))
    assert len(points) == len(METRICS) * (len(names()) + 4)
    assert len(json.loads(outputs["json"].read_text())["points"]) == len(points)
    assert outputs["markdown"].read_text().count("\n") == 2 + len(METRICS)
    svg, pdf = (tmp_path / f"figures/mine_robustness_curves.{kind}" for kind in ("svg", "pdf"))
    drawn = svg.read_text()
    assert all(f">{name}<" in drawn for name in (*METRICS, "human threshold", "translate_x", "level (deg)"))
    assert pdf.read_bytes().startswith(b"%PDF")


@pytest.mark.slow
def test_the_same_curves_give_the_same_figure(store, tmp_path):
    for folder in ("one", "other"):
        assert main(["robustness", "--scores", str(store), "--metric", "tolerant", *QUICK,
                     "--figures", str(tmp_path / folder)]) == 0
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "other" / path.name).read_bytes()


def test_pixels_per_degree_move_the_threshold_of_translation_alone(store, capsys):
    ends = {}
    for per_degree in ("29.2", "15"):
        assert main(["robustness", "--scores", str(store), "--metric", "fragile", *QUICK, "--csv", "-",
                     "--pixels-per-degree", per_degree]) == 0
        assert capsys.readouterr().out.startswith("dataset,metric,family,unit,level")
        main(["robustness", "--scores", str(store), "--metric", "fragile", *QUICK, "--pixels-per-degree",
              per_degree])
        (line,) = re.findall("^human threshold .*", capsys.readouterr().out, re.MULTILINE)
        ends[per_degree] = line.split()[2:]
    assert ends == {"29.2": ["6.72", "6.72", "2.6", "3.6"], "15": ["3.45", "3.45", "2.6", "3.6"]}


@pytest.mark.parametrize(("arguments", "message"), [
    (["--dataset", "mime"], "did you mean mine?"), (["--metric", "tolerent"], "did you mean tolerant?"),
    (["--dataset", "mine_references"], "use --dataset mine"), (["--thresholds", "gone.yaml"], "gone.yaml")])
def test_clear_errors(store, capsys, arguments, message):
    assert main(["robustness", "--scores", str(store), *arguments]) == 1
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert message in err


@pytest.mark.parametrize("value", ["0", "-3", "nan"])
def test_pixels_per_degree_must_be_above_0(store, capsys, value):
    with pytest.raises(SystemExit):
        main(["robustness", "--scores", str(store), "--pixels-per-degree", value])
    assert f"must be above 0, found {value}" in capsys.readouterr().err


def test_raid_alone_has_rows_in_every_output(tmp_path, capsys):
    keys = [(ref, level) for ref in range(4) for level in range(2, 8)]
    values = [level * (1 + ref / 16) for ref, level in keys]
    write_stored(tmp_path / "scores", ScoreKey("raid", "psnr", "original"), values, values,
                 ids=[f"raid/rot_img_{ref}_level_{level:02}" for ref, level in keys],
                 refs=[f"img_{ref}.png" for ref, _ in keys], types=["rot"] * len(keys),
                 higher_is_better=False, about={"score": {"higher_is_better": False}})
    outputs = [tmp_path / "a.csv", tmp_path / "a.md"]
    assert main(["robustness", "--scores", str(tmp_path / "scores"), *QUICK, "--csv", str(outputs[0]),
                 "--markdown", str(outputs[1])]) == 0
    assert capsys.readouterr().out.count("[1.00, 1.00]") == 2
    rows = list(csv.DictReader(outputs[0].open()))
    assert [(row["dataset"], row["family"]) for row in rows] == [("raid", "rot"), ("raid", "all")]
    assert [float(row["srcc"]) for row in rows] == pytest.approx([1, 1], abs=1e-15)  # one rounding of 1
    assert "| `psnr` | rot | 1.000 [1.000, 1.000] |" in outputs[1].read_text()


def test_a_store_without_levels_names_the_command(store, tmp_path, capsys):
    (tmp_path / "mine/psnr").mkdir(parents=True)
    (tmp_path / "pairs").mkdir()
    for path in (store / "mine/tolerant").glob("original.*"):
        (tmp_path / "mine/psnr" / path.name).write_bytes(path.read_bytes())
    assert main(["robustness", "--scores", str(tmp_path)]) == 1
    assert "zsiqa run dataset=mine perturbation=curves" in capsys.readouterr().err
    assert robustness_part(open_folder(tmp_path), 100) == ""


def test_the_page_has_the_curves_and_no_level_elsewhere(store, tmp_path):
    assert main(["report", "--scores", str(store), "--out", str(tmp_path), "--replicates", "100"]) == 0
    page = (tmp_path / "index.html").read_text()
    part = page[page.index("Robustness as a curve"):]
    picture = base64.b64decode(re.search(r"data:image/svg\+xml;base64,([^\"]+)", part)[1]).decode()
    assert "human threshold" in picture
    assert "<td>tolerant</td>" in part
    assert "loss: at 0 minus worst" in part
    assert "rotate_3deg" not in page
    assert "mine_references" not in page


def test_other_commands_do_not_stumble_over_levels_and_references(store, capsys):
    for command in ("tables", "rank"):
        assert main([command, "--scores", str(store)]) == 0
        said = capsys.readouterr().out
        assert "fragile" in said
        assert "rotate_3deg" not in said
        assert "mine_references" not in said
    assert main(["audit", "--scores", str(store)]) == 0
    said = capsys.readouterr().out
    assert "byte for byte" not in said
    assert "all scores are equal" not in said
