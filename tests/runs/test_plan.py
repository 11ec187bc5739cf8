import pytest
from omegaconf import OmegaConf

from zsiqa.results.score_file import digest
from zsiqa.runs import plan
from zsiqa.types import Dataset, ImagePair


@pytest.mark.parametrize("together", [1, 2, 3, 10_000])
@pytest.mark.parametrize("known_by", ["names", "paths"])
def test_images_are_identified_as_in_one_list(tmp_path, monkeypatch, together, known_by):
    """Stored score files hold this digest."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plan, "TOGETHER", together)
    pairs = tuple(ImagePair(f"r|{name}", "r", name, 0.0, tmp_path / "r", type(tmp_path)(folder) / name)
                  for folder, name in (("sub", "a.png"), ("/elsewhere", 'ü "b".png'), ("..", "c, [d].png")))
    found = plan.identify_images(OmegaConf.create({"dataset": {"image_identity": known_by}}),
                                 Dataset("mine", "", pairs, higher_is_better=True))
    whole = [(pair.pair_id, pair.ref, pair.dis,
              *(str(path.absolute()) for path in (pair.ref_path, pair.dis_path) if known_by == "paths"))
             for pair in pairs]
    assert found == {"name": "mine", f"{known_by}_sha256": digest(whole)}
