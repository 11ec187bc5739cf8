import importlib

import pytest

from zsiqa.releases import published
from zsiqa.results.official import conventions
from zsiqa.types import DatasetError

COMMON = {"name", "label", "get", "pairs", "references", "higher_is_better", "scores", "case", "tables",
          "sizes", "types", "subsets", "image"}


@pytest.mark.parametrize("name", published())
def test_facts_are_complete_and_have_a_reader(name, tmp_path):
    facts = published()[name]
    extra = facts.keys() - COMMON - {"images", "originals", "parts", "minuend"}
    assert facts.keys() >= COMMON
    assert len(facts[extra.pop()]) == 64
    assert not extra, "one digest"
    assert {kind for kinds in facts["subsets"].values() for kind in kinds} <= set(facts["types"])
    with pytest.raises(DatasetError, match=rf"^\[{name}\] no .* Fix: .* ZSIQA_{name.upper()}=DIR;"):
        importlib.import_module(f"zsiqa.datasets.{name}").read(tmp_path)


def test_the_authors_rows_of_live_are_its_images_but_for_the_originals():
    facts = conventions()["datasets"]["live"]
    assert facts["folders"] == {name: count - facts["originals"][name] for name,
                                count in facts["images"].items()}
