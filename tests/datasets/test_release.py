import csv
import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import savemat

from zsiqa.datasets import live, pipal, tid2013
from zsiqa.datasets.labels import parse_table
from zsiqa.datasets.release import Tree, digest_of
from zsiqa.releases import published, ref_id
from zsiqa.results.official import conventions
from zsiqa.types import DatasetError


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_files_are_found_by_name_at_any_depth_and_hidden_ones_are_not_there(tmp_path):
    touch(tmp_path, "A/b/C.BMP", ".hidden/d.bmp", "__MACOSX/e.bmp", "._f.bmp", "1/2/3/4/5/6/deep.bmp",
          "1/2/3/4/5/6/7/deeper.bmp")
    tree = Tree("live", tmp_path)
    assert tree.find("c.bmp") == tmp_path / "A/b/C.BMP"
    assert tree.find("C.bmp", ("b",)) == tmp_path / "A/b/C.BMP"
    assert [tree.find(name) for name in ("d.bmp", "e.bmp", "._f.bmp", "deeper.bmp", "none.bmp")] == [None] * 5
    assert tree.find("c.bmp", ("a",)) is None
    assert sorted(tree.images()) == ["1/2/3/4/5/6/deep.bmp", "A/b/C.BMP"]


def test_links_are_followed_even_in_circles(tmp_path):
    touch(tmp_path, "elsewhere/a.bmp")
    (tmp_path / "root").mkdir()
    (tmp_path / "root/link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "root/nowhere.bmp").symlink_to(tmp_path / "gone")
    tree = Tree("live", tmp_path / "root")
    assert tree.find("a.bmp") == tmp_path / "root/link/a.bmp"
    assert tree.find("nowhere.bmp") is None
    (tmp_path / "elsewhere/up").symlink_to(tmp_path / "elsewhere")
    assert Tree("live", tmp_path / "root").find("a.bmp") == tmp_path / "root/link/a.bmp"


def test_a_file_is_no_folder(tmp_path):
    touch(tmp_path, "live.zip")
    with pytest.raises(DatasetError,
                       match=r"\[live\] folder not found: .*live.zip. Fix: .* set ZSIQA_LIVE=DIR"):
        Tree("live", tmp_path / "live.zip")


@pytest.mark.parametrize(("header", "row"), [
    ("dis_img_path,dis_type,ref_img_path,score", "LIVE/jp2k/img2.bmp,jp2k,LIVE/refimgs/a.bmp,1.5"),
    ("ref_name,dist_name,mos,std", "LIVE/refimgs/a.bmp,LIVE/jp2k/img2.bmp,1.5,0.25"),
    ("\ufeffhq_name,dist_name,elo_score", "LIVE/refimgs/a.bmp,LIVE/jp2k/img2.bmp, 1.5"),
])
def test_the_columns_of_other_toolboxes(header, row):
    (label,) = parse_table(f"{header}\r\n{row}\r\n\r\n".encode(), "x.csv", "live")
    assert (label.dis, label.ref, label.score) == ("LIVE/jp2k/img2.bmp", "LIVE/refimgs/a.bmp", 1.5)
    assert label.std == 0.25 or "std" not in header
    assert label.where == "x.csv line 2"


@pytest.mark.parametrize(("content", "message"), [
    ("", "x.csv columns none; expected dis_img_path or dist_name, and score or mos or dmos or elo_score"),
    ("dist_name,score2\na,1", "x.csv columns dist_name, score2; expected"),
    ("dist_name,mos\na,1,2", "x.csv line 2: 3 fields, expected 2"),
    ("dist_name,mos\na,good", "x.csv line 2: expected a finite number, got 'good'"),
    ("dist_name,mos,std\na,1,", "x.csv line 2: expected a finite number, got ''"),
    ("dist_name,mos\n\na,1", "x.csv line 2: 0 fields, expected 2"),
    ("dist_name,mos,mos\na,1,2", "x.csv: column 'mos' twice in the header"),
    ("dist_name,mos\na\tb,1", r"x.csv line 2: a tab inside of a field of \['a\\tb', '1'\]"),
    ("dist_name,mos\na\x1b,1", r"x.csv line 2: control character '\\x1b'"),
    ("dist_name,mos\na,\u0663", "x.csv line 2: expected a finite number"),
    ('dist_name,mos\na,"3,5"', "x.csv line 2: .* got '3,5'; write a decimal point, not a comma. Fix: "),
])
def test_wrong_tables(content, message):
    with pytest.raises(DatasetError, match=message):
        parse_table(content.encode(), "x.csv", "live")


@given(st.one_of(st.binary(max_size=200), st.lists(st.builds(
    "{},{}".format, st.text(max_size=4),
    st.sampled_from(("1", "-2.5e-3", "nan", "1,2", ""))), max_size=4).map(
    lambda rows: "\n".join(["dist_name,mos", *rows]).encode("utf-8", "surrogatepass"))))
def test_any_table_is_labels_or_one_error(data):
    try:
        labels = parse_table(data, "x.csv", "live")
    except DatasetError:
        return
    assert len(labels) == data.decode().rstrip().count("\n")


def authors_rows(authors, dataset):
    """(dis, ref, mos), as they stand in all complete files."""
    file = max(authors.glob(f"{dataset}_*.csv"), key=lambda path: path.stat().st_size)
    with file.open(newline="") as stream:
        return [(row["dis"], row["ref"], row["mos"]) for row in csv.DictReader(stream)]


def keys_sha256(pairs):
    """As configs/official.yaml has it of the authors' files."""
    return hashlib.sha256(
        "\n".join(f"{pair.dis},{pair.ref},{pair.mos}" for pair in pairs).encode()).hexdigest()


def test_tid2013_is_the_authors_row_for_row(authors, tmp_path):
    """A tree with the release's names; its label file follows from theirs, for mos = 100 - MOS with 5
    decimals."""
    rows = authors_rows(authors, "tid2013")
    touch(tmp_path, *(f"distorted_images/{dis.lower()}" for dis, _, _ in rows),
          *(f"reference_images/I{number:02}.BMP" for number in range(1, 25)), "reference_images/i25.bmp")
    (tmp_path / "mos_with_names.txt").write_text(
        "".join(f"{100 - float(mos):.5f} {dis}\n" for dis, _, mos in rows))
    found = tid2013.read(tmp_path)
    assert [(p.dis, p.ref, str(p.mos)) for p in found.pairs] == rows
    assert keys_sha256(found.pairs) == conventions()["datasets"]["tid2013"]["keys_sha256"]
    assert all(p.dis_path.is_file() and p.ref_path.is_file() for p in found.pairs)
    assert found.warnings == (), "the digest is the published one"


def test_live_is_the_authors_row_for_row(authors, tmp_path):
    """A tree with the release's names, and its .mat files, made from the authors' rows."""
    rows, facts = authors_rows(authors, "live"), conventions()["datasets"]["live"]
    places = [(folder, index) for folder, count in facts["images"].items() for index in range(1, count + 1)]
    known, folders = {}, iter(facts["images"])
    last, folder = 1000, ""
    for dis, ref, mos in rows:  # a new folder begins where the number falls
        index = int(dis[3:-4])
        if index < last:
            folder = next(folders)
        known[folder, index], last = (ref, float(mos)), index


    cells = np.empty((1, len(places)), dtype=object)
    cells[0] = [known.get(place, ("bikes.bmp", 0.0))[0] for place in places]
    scores = np.array([[known.get(place, ("", 0.0))[1] for place in places]])
    touch(tmp_path, *(f"{folder}/img{index}.bmp" for folder, index in places),
          *(f"refimgs/{ref}" for _, ref, _ in rows))
    savemat(tmp_path / "refnames_all.mat", {"refnames_all": cells})
    savemat(tmp_path / "dmos_realigned.mat", {"dmos_new": scores, "dmos_std": scores, "orgs": scores == 0})
    found = live.read(tmp_path)
    assert [(p.dis, p.ref, str(p.mos)) for p in found.pairs] == rows
    assert keys_sha256(found.pairs) == facts["keys_sha256"]
    assert [p.dis_path.relative_to(tmp_path).as_posix() for p in found.pairs] == [
        f"{folder}/img{index}.bmp" for folder, index in known]
    assert (found.warnings, found.unnamed) == ((), ())


def test_pipal_is_the_authors_pairs_in_the_order_of_their_names(authors, tmp_path):
    rows = authors_rows(authors, "pipal")
    touch(tmp_path, *(f"Train_Label/{ref[:-4]}.txt" for _, ref, _ in rows))
    for label in (tmp_path / "Train_Label").iterdir():
        label.write_text("".join(f"{dis},{mos}\n" for dis, _, mos in rows if dis.startswith(label.stem)))
    found = pipal.read(tmp_path)
    assert [(p.dis, p.ref, str(p.mos)) for p in found.pairs] == sorted(rows)
    assert found.warnings == ()
    facts = published()["pipal"]
    assert digest_of(found.pairs[::-1],
                         facts)[0] != digest_of(found.pairs, facts)[0] == facts["sha256"]
    assert ref_id(found.pairs[0].ref, facts) == "A0001"
