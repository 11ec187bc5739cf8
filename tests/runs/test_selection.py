from pathlib import Path

import pytest

from zsiqa.runs.selection import select
from zsiqa.types import DatasetError, ImagePair

PAIRS = [ImagePair(f"{ref}{kind}", f"{ref}.BMP", f"{ref}{kind}.bmp", 0.0, Path(ref), Path(ref), type=kind,
                   subsets=some)
         for ref in ("I01", "I02") for kind,
         some in (("01", ("Noise", "Simple")), ("08", ("Simple",)), ("11", ()))]


def chosen(**choice):
    return [pair.pair_id for pair, selected in zip(PAIRS, select(PAIRS, **choice), strict=True) if selected]


@pytest.mark.parametrize(("choice", "expected"), [
    ({}, ["I0101", "I0108", "I0111", "I0201", "I0208", "I0211"]),
    ({"limit": 2}, ["I0101", "I0108"]),
    ({"limit": 100}, ["I0101", "I0108", "I0111", "I0201", "I0208", "I0211"]),
    ({"types": ["08"]}, ["I0108", "I0208"]),
    ({"types": [8]}, ["I0108", "I0208"]),  # as a command line reads it
    ({"types": ["noise", 11]}, ["I0101", "I0111", "I0201", "I0211"]),
    ({"types": ["SIMPLE"], "limit": 3}, ["I0101", "I0108", "I0201"]),
    ({"references": ["i02"]}, ["I0201", "I0208", "I0211"]),
    ({"references": ["I02.bmp"], "types": [1], "limit": 1}, ["I0201"]),
])
def test_choices(choice, expected):
    assert chosen(**choice) == expected


@pytest.mark.parametrize(("choice", "message"), [
    ({"types": ["rain", "Noise"]}, "dataset.types: unknown rain; there are 01, 08, 11, Noise, Simple"),
    ({"types": ["08", "I01"]}, r"dataset.types: unknown i01 \(did you mean 01\?\); there are 01"),
    ({"references": ["I03"]}, "dataset.references: unknown i03; there are I01.BMP, I02.BMP"),
])
def test_unknown_names(choice, message):
    with pytest.raises(DatasetError, match=message):
        select(PAIRS, **choice)


def test_nothing_left():
    with pytest.raises(DatasetError, match="leave no pair"):
        select(PAIRS[:2] + PAIRS[5:], types=["08"], references=["I02"])


def test_data_without_types():
    bare = [ImagePair("a|b", "a", "b", 0.0, Path("a"), Path("b"))]
    assert select(bare, references=["a"]).tolist() == [True]
    with pytest.raises(DatasetError, match="dataset.types: unknown blur; there are none"):
        select(bare, types=["blur"])
