from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trees import KADID_SCORES, expect_error, kadid10k

from zsiqa.datasets.kadid10k import parse_labels, read
from zsiqa.releases import published
from zsiqa.types import DatasetError

expect = partial(expect_error, read)


@pytest.mark.parametrize("inside", ["", "kadid10k/kadid10k"])
def test_the_release(tmp_path, inside):
    facts = kadid10k(tmp_path / inside)
    found = read(tmp_path, facts)
    assert [(p.pair_id, p.mos, p.mos_std) for p in found.pairs] == [
        (f"kadid10k/{stem.lower()}", dmos, std) for stem, (dmos, std) in KADID_SCORES.items()]
    assert [(p.ref, p.dis, p.type, p.level, p.subsets) for p in found.pairs][2] == (
        "I01.png", "I01_25_01.png", "25", "01", ("Sharpness and contrast",))
    assert all(p.dis_path.is_file() and p.ref_path.is_file() for p in found.pairs)
    assert (found.warnings, found.unnamed) == ((), ())


def test_upper_case(tmp_path):
    facts = kadid10k(tmp_path)
    for path in sorted((tmp_path / "images").iterdir()):
        path.rename(path.with_name(path.name.upper()))
    (tmp_path / "images").rename(tmp_path / "IMAGES")
    assert all(p.dis_path.suffix == ".PNG" and p.ref_path.is_file() for p in read(tmp_path, facts).pairs)


def test_every_type_is_in_one_group():
    facts = published()["kadid10k"]
    assert sorted(kind for kinds in facts["subsets"].values() for kind in kinds) == list(facts["types"])
    assert facts["pairs"] == facts["references"] * len(facts["types"]) * 5


@pytest.mark.parametrize(("old", "new", "message"), [
    ("ref_img,dmos,var", "ref_img,dmos", "has the columns dist_img, ref_img, dmos; expected also var"),
    ("4.57,0.496", "4.57", "dmos.csv line 2: 3 fields, expected 4"),
    ("4.57,0.496", "5.5,0.496", r"dmos.csv line 2: score 5.5, expected 1..5"),
    ("4.57,0.496", ",0.496", "dmos.csv line 2: expected a finite number, got ''"),
    ("I01_01_01.png,I01", "I01_01_01.png,I02",
     "line 2: the reference of I01_01_01.png is I01.png, not I02.png"),
    ("I01_01_01.png,I01.png", "../I01_01_01.png,I01.png", "'../I01_01_01.png' is no image of KADID-10k"),
    ("I01_01_01.png,I01.png", "I01_01_02.png,I01.png",
     "the pair kadid10k/i01_01_02 is listed twice in dmos.csv"),
    ('I01_01_01.png,I01.png', '"I01_01_01.png,I01.png', "dmos.csv line 2: expected comma-separated fields"),
    ("I01_01_01.png,I01.png,4.57,0.496\n", "", "3 label rows in dmos.csv, expected 4"),
    ("I01_01_01.png,I01.png,4.57,0.496\n", "\n", "dmos.csv line 2: 0 fields, expected 4"),
])
def test_wrong_lines(tmp_path, old, new, message):
    facts = kadid10k(tmp_path)
    labels = tmp_path / "dmos.csv"
    labels.write_text(labels.read_text().replace(old, new))
    expect(tmp_path, facts, message)


def test_other_labels_are_a_warning(tmp_path):
    facts = kadid10k(tmp_path)
    labels = tmp_path / "dmos.csv"
    labels.write_text(labels.read_text().replace("4.57", "4.56"))
    (warning,) = read(tmp_path, facts).warnings
    assert warning.startswith("[kadid10k] the labels in dmos.csv are not those of the release")


@given(st.one_of(st.binary(max_size=200), st.lists(st.builds(
    "{},I01.png,{},0".format, st.text(max_size=5), st.sampled_from(("4.5", "x", "1e999"))), max_size=5)
   .map(lambda rows: "\n".join(["dist_img,ref_img,dmos,var", *rows]).encode("utf-8", "surrogatepass"))))
def test_any_bytes_are_labels_or_one_error(data):
    try:
        labels = parse_labels(data)
    except DatasetError:
        return
    assert len(labels) == data.count(b"I01.png")
