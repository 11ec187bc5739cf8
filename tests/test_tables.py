import subprocess
import sys

import pytest
from conftest import image_pair

from zsiqa.cli import main
from zsiqa.store import ScoreFile
from zsiqa.tables import build_table, read_cell
from zsiqa.types import StoreError

SPEC = {"title": "A table", "dataset": "set", "perturbations": ["original", "rotate"], "coefficients": ["plcc", "srcc"],
        "rows": [{"metric": "net-features-l2"}, {"metric": "net-features-wsd"}]}


@pytest.fixture
def scores_dir(tmp_path):
    """net-features-l2: original complete, rotate with a gap; net-features-wsd: nothing."""
    pairs = [image_pair(tmp_path / "ref", tmp_path / str(index)) for index in range(4)]
    pairs = [type(pair)(**{**pair.__dict__, "mos": mos}) for pair, mos in zip(pairs, [1.0, 2.0, 3.0, 5.0], strict=True)]
    for name, scores in {"original": [4.0, 3.0, 2.0, 1.0], "rotate": [1.0, 2.0, float("nan"), 3.0]}.items():
        file = ScoreFile(tmp_path / "scores/set/net-features-l2" / f"{name}.csv", {"id": 1, "perturbation": name})
        info = {"dataset": {"name": "set", "higher_is_better": True}, "notes": ["a caveat"],
                "labels": {"backbone": "Net", "representation": "features", "distance": "l2"}}
        file.claim(info)
        file.finish(pairs, scores, info)
    return tmp_path / "scores"


def test_a_table_holds_what_is_there_and_names_what_is_not(scores_dir):
    table = build_table(SPEC, scores_dir)
    row = table.frame.loc[("l2", "Net", "features")]
    assert row["original", "SRCC"] == pytest.approx(1.0)
    assert row["original", "PLCC"] == pytest.approx(0.98270, abs=1e-5)  # 6.5 / sqrt(5 * 8.75), by hand
    assert row["rotate", "SRCC"] == pytest.approx(-1.0), "the sign is kept"
    assert table.missing == {"net-features-wsd": ["original", "rotate"]}
    assert table.notes == ["a caveat", "net-features-l2/rotate: only 3 of 4 pairs have a score"]
    text = table.to_text()
    assert "missing: net-features-wsd: original, rotate" in text
    assert "1.000" in text
    assert "-1.000" in text
    assert "net-features-wsd" in text


def test_an_empty_store_gives_a_table_of_missing_cells(tmp_path):
    with pytest.raises(StoreError, match="no folder .*nowhere"):
        build_table(SPEC, tmp_path / "nowhere")
    table = build_table(SPEC, tmp_path)
    assert table.missing == {metric: ["original", "rotate"] for metric in ("net-features-l2", "net-features-wsd")}
    assert table.frame.isna().all(axis=None)


def test_cells_of_different_settings_in_a_row_are_noted(scores_dir):
    file = scores_dir / "set/net-features-l2/rotate.json"
    file.write_text(file.read_text().replace('"id": 1', '"id": 2'))
    assert any("cells of different settings" in note for note in build_table(SPEC, scores_dir).notes)


def test_an_unfinished_file_is_no_cell(tmp_path):
    file = ScoreFile(tmp_path / "original.csv", {})
    assert read_cell(file.path) is None
    file.claim({})
    file.append("a", 1.0)
    file.close()
    assert read_cell(file.path) is None


def test_the_command_prints_the_demo_table_and_errors_are_one_line(tmp_path, capsys):
    assert main(["tables", "--scores", str(tmp_path)]) == 0
    assert capsys.readouterr().out.count("missing: efficientnet_lite0-") == 10
    folder = tmp_path / "demo/efficientnet_lite0-features-l2"
    folder.mkdir(parents=True)
    (folder / "original.csv").write_text("")
    (folder / "original.json").write_text("{}")
    assert main(["tables", "--scores", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith("error: ")


def test_help_of_the_installed_command():
    done = subprocess.run([sys.executable, "-m", "zsiqa.cli", "--help"], capture_output=True, text=True, check=True)
    assert done.returncode == 0
