import math
from pathlib import Path

import numpy as np
import pytest

from zsiqa.results.scores import Pairs, ScoreKey, Scores, split_metric
from zsiqa.results.table import read_table
from zsiqa.types import StoreError

COLUMNS = {"name": str, "x": float, "y": float}


@pytest.fixture
def read(tmp_path):
    def parse(content):
        path = tmp_path / "scores.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_table(path, COLUMNS)

    return parse


@pytest.mark.parametrize("content", [
    "name,x,y\na,1,2.5\nb,-3e-2,4\n",
    "name,x,y\na,1,2.5\nb,-3e-2,4",  # no newline at the end
    "name,x,y\r\na,1,2.5\r\nb,-3e-2,4\r\n",
    b"\xef\xbb\xbfname,x,y\na,1,2.5\nb,-3e-2,4\n",  # a byte order mark, as Excel writes it
    b"\xef\xbb\xbfname,x,y\r\na,1,2.5\r\nb,-3e-2,4\r\n",
    '"name","x","y"\n"a","1","2.5"\n"b","-3e-2","4"\n',
])
def test_the_same_table_however_it_is_written(read, content):
    table = read(content)
    assert table.columns.to_list() == ["name", "x", "y"]
    assert table["name"].to_list() == ["a", "b"]
    assert table[["x", "y"]].to_numpy().tolist() == [[1.0, 2.5], [-0.03, 4.0]]
    assert table["x"].dtype == np.float64


def test_numbers_are_read_to_the_last_bits(read):
    random = np.random.default_rng(0)
    numbers = [0.1 + 0.2, 1e-17, 123456789.123456789, 5e-324, -1.7976931348623157e308,
               *random.uniform(0, 1, 1000)]
    numbers = [float(number) for number in numbers]
    table = read("name,x,y\n" + "".join(f"a,{number!r},0\n" for number in numbers))
    # pandas before 3.1 rounds some in the last bits (9e-13 at most); what is printed needs 1e-5.
    assert table["x"].to_list() == pytest.approx(numbers, rel=1e-11, abs=0)


def test_an_empty_field_is_nan_in_a_column_of_numbers_and_empty_in_one_of_names(read):
    table = read("name,x,y\n,,1\n")
    assert table["name"].to_list() == [""]
    assert math.isnan(table["x"][0])
    assert table["y"][0] == 1.0


def test_names_stay_as_they_are(read):
    names = ["NA", "nan", "null", "007", "1e3", "a, b", 'say "x"', "näme"]
    quoted = ['"' + name.replace('"', '""') + '"' for name in names]
    assert read("name,x,y\n" + "".join(f"{name},1,2\n" for name in quoted))["name"].to_list() == names


def test_infinite_scores_are_read_so_that_they_can_be_counted(read):
    assert read("name,x,y\na,inf,1\nb,-inf,1\nc,Infinity,1\n")["x"].to_list() == [
            math.inf, -math.inf, math.inf]


@pytest.mark.parametrize("word", ["nan", "NaN"])
def test_scores_that_are_not_a_number_are_read_so_that_they_can_be_counted(read, word):
    """As numpy, C and our own `repr` write it."""
    assert np.isnan(read(f"name,x,y\na,{word},1\nb,2,{word}\n")[["x", "y"]].to_numpy()).tolist() == [
        [True, False], [False, True]]


def test_a_header_alone_is_a_table_without_rows(read):
    for content in ("name,x,y\n", "name,x,y"):
        assert len(read(content)) == 0
        assert read(content)["x"].dtype == np.float64


@pytest.mark.parametrize("header", ["name,x", "x,name,y", "name,x,y,z", "Name,x,y", "name;x;y", "name, x, y"])
def test_other_columns_are_refused_and_named(read, header):
    with pytest.raises(StoreError, match=r"scores\.csv: expected the columns name,x,y, found") as caught:
        read(f"{header}\n")
    assert header in str(caught.value)


def test_an_empty_file_has_no_columns(read):
    for content in ("", "\n", "\n\nname,x,y\n"):
        with pytest.raises(StoreError, match="expected the columns name,x,y, found nothing"):
            read(content)


@pytest.mark.parametrize(
    "row", ["a,1,2,3", "a,1,2,", "a,one,2", "a,1,2x", "a,NA,2", "a,1,null", "a,0x10,1", "a,True,1",
                                 "a,1 000,2", 'a,"1,5",2', "a,1,-", '"a,1,2'])
def test_a_row_that_does_not_fit_is_refused(read, row):
    with pytest.raises(StoreError, match=r"scores\.csv: not a table of name,x,y"):
        read(f"name,x,y\nz,1,2\n{row}\nz,1,2\n")


@pytest.mark.parametrize("row", ["a,1", "a", "torn at the en"])
def test_a_row_with_too_few_fields_is_refused(read, row):
    """A file whose writer was killed ends like this; its last row must not pass for a pair without a
    score."""
    with pytest.raises(StoreError, match=r"scores\.csv: not a table of name,x,y"):
        read(f"name,x,y\nz,1,2\n{row}")


@pytest.mark.parametrize("content", [b"\xff\xfen\x00a\x00", b"n\xe4me,x,y\n", b"name,x,y\nn\xe4me,1,2\n"])
def test_a_file_that_is_not_utf_8_is_refused(read, content):
    with pytest.raises(StoreError, match=r"scores\.csv: not a"):
        read(content)


@pytest.mark.parametrize(("label_up", "score_up"),
                         [(True, True), (True, False), (False, True), (False, False)])
def test_quality_and_opinion_grow_with_the_image(label_up, score_up):
    names = np.array(["a", "b", "c"], dtype=object)
    pairs = Pairs(names, names, names, np.array([1.0, 2.0, 3.0]), label_up)
    scores = Scores(ScoreKey("set", "net", "original"), Path("x.csv"), pairs,
                    np.array([0.5, math.nan, math.inf]),
                    score_up, 3, {})
    assert scores.oriented_labels.tolist() == [1.0, 2.0, 3.0] if label_up else [-1.0, -2.0, -3.0]
    assert scores.quality[0] == (0.5 if score_up else -0.5)
    assert scores.usable.tolist() == [True, False, False]
    assert str(scores.key) == "set/net/original"


@pytest.mark.parametrize(("metric", "parts"), [
    ("dinov1-features-wsd", ("dinov1", "features", "wsd")), ("lpips_vgg_kadid", ("lpips_vgg_kadid", "", "")),
    ("net-embedding", ("net-embedding", "", "")), ("a-b-c-d", ("a-b", "c", "d")), ("", ("", "", "")),
])
def test_a_metric_is_split_into_backbone_representation_and_distance(metric, parts):
    assert split_metric(metric) == parts
