"""Find the weights of a backbone or baseline as local files, whose SHA-256 goes into every result.

Never imports torch.
"""

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
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from omegaconf import DictConfig

from zsiqa import CONFIGS
from zsiqa.config import instantiate
from zsiqa.types import WeightsError, how_to_install


def local_file(path: str | Path, *, setting: str = "backbone.checkpoint") -> Path:
    """Check a weights file that the user names in a setting, and return its path.

    Raises:
        WeightsError: if there is no such file.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise WeightsError(f"{setting}: no file {file}; "
                           f"give the path of a .safetensors, .pth, .pt or .bin file")
    return file


def package_file(source: str, filename: str, *, setting: str = "backbone.checkpoint",
                 download: bool = True) -> Path:  # noqa: ARG001 - nothing to download
    """Find a weights file inside an installed Python package (which is not imported).

    Args:
        source: import name of the package.
        filename: path inside the package.
        setting: the setting with which the user can name another file, for the error message.
        download: has no effect; it is here because the other sources take it.

    Raises:
        WeightsError: if the package is not installed or lacks the file.
    """
    try:
        spec = importlib.util.find_spec(source)
    except ImportError:
        spec = None
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if (file := Path(folder) / filename).is_file():
            return file
    raise WeightsError(f"no {filename} in the Python package {source}; "
                       f"run {how_to_install(source)}, or pass {setting}=FILE")


def hub_file(source: str | None, filename: str = "model.safetensors", fallback: str | None = None, *,
             download: bool = True) -> Path:
    """Find a weights file of the Hugging Face hub in the local cache, or download it into the cache.

    Respects HF_HOME, HF_HUB_CACHE, HF_ENDPOINT and HF_HUB_OFFLINE.

    Args:
        source: `owner/name`, e.g. `timm/vit_base_patch16_224.dino`.
        fallback: name of the file in older repositories, which have no `filename`.
        download: if False, look only into the cache.

    Raises:
        WeightsError: if the file is not cached and cannot be downloaded, or no source is given.
    """
    # Imported here, so that help and early errors do not wait for it.
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, HFValidationError

    if source is None:
        raise WeightsError("the model's name does not say which weights to use: give "
                           "backbone.weights.source=OWNER/NAME, a repository of the Hugging Face hub, "
                           "or a local file, backbone.checkpoint=FILE")
    # This check avoids the many retries of the hub's client where the host's name does not resolve.
    online = download and not is_offline() and _reachable(constants.ENDPOINT)
    find = functools.partial(hf_hub_download, source, local_files_only=not online)
    try:
        if not online and fallback:  # the cache does not say which of the two names the repository has
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
            f"  to download it in advance{_in_mib(source)}, on a machine with internet and the same HF_HOME: "
            f"zsiqa weights fetch NAME, or hf download {source} {filename}\n"
            f"  to use a local file: backbone.checkpoint=/path/to/{filename}\n"
            f"  to check the model's name: a model of timm needs its tag, as in vit_base_patch16_224.dino"
        ) from error


def url_file(source: str, *, setting: str = "backbone.checkpoint", download: bool = True) -> Path:
    """Find a weights file in the folder of torch.hub, `$TORCH_HOME/hub/checkpoints`, or download it there.

    Respects TORCH_HOME, and HF_HUB_OFFLINE too: one variable forbids all downloads.

    Args:
        source: the URL; its file name ends in `-` and the first hex digits of the file's SHA-256, like the
            names of PyTorch's own files.
        setting: the setting with which the user can name another file, for the error message.
        download: if False, look only into the folder.

    Raises:
        WeightsError: if the file is not there and cannot be downloaded, or the download has another SHA-256.
    """
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = Path(os.environ.get("TORCH_HOME") or f"{cache}/torch").expanduser()
    file = home / "hub" / "checkpoints" / source.rpartition("/")[2]
    if file.is_file():
        return file
    temporary = file.with_name(f"{file.name}.{uuid.uuid4().hex[:12]}.tmp")
    try:
        if not download or is_offline():
            raise OSError("downloads are not allowed")
        file.parent.mkdir(parents=True, exist_ok=True)
        with (urllib.request.urlopen(source, timeout=30) as answer,  # noqa: S310 - the URL is from our YAML
              temporary.open("xb") as stream):
            shutil.copyfileobj(answer, stream)
        digest = sha256(temporary)
        if not digest.startswith(published_digest(file)):
            raise WeightsError(f"{source}: the download has SHA-256 {digest}, "
                               f"expected {published_digest(file)}...; try again")
        temporary.replace(file)
    except OSError as error:
        raise WeightsError(
            f"{file.name} is not in {file.parent}, and {_why_not(source, error, download=download)}.\n"
            f"  to download it in advance{_in_mib(source)}, on a machine with internet and the same "
            f"TORCH_HOME: zsiqa weights fetch NAME, or download {source} into that folder\n"
            f"  to use a local file: {setting}=/path/to/{file.name}") from error
    finally:
        temporary.unlink(missing_ok=True)
    return file


@functools.cache
def facts() -> Mapping[str, Mapping[str, Any]]:
    """Load sizes (`mib`) and licences of known weights, by source: `configs/weights.yaml` (cached)."""
    read: Mapping[str, Mapping[str, Any]] = yaml.safe_load((CONFIGS / "weights.yaml").read_text("utf-8"))
    return read


def _in_mib(source: str) -> str:
    mib = facts().get(source, {}).get("mib")
    return f" ({mib:g} MiB)" if mib else ""


def published_digest(file: Path) -> str:
    """Return the first hex digits of the SHA-256 that a file should have; "" if its name does not say.

    In the hub's cache, the content of a file is named by its SHA-256. The names of PyTorch's files, and of
    others that follow this rule, end in 8 digits or more.
    """
    content, suffix = file.resolve().name, file.stem.rpartition("-")[2]
    return next((name for name in (content, suffix) if re.fullmatch("[0-9a-f]{64}|[0-9a-f]{8,10}", name)), "")


def is_offline() -> bool:
    """Return whether HF_HUB_OFFLINE forbids downloads.

    The variable is read now; the hub's client reads it only when it is first imported.
    """
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def sha256(file: Path) -> str:
    """Compute the SHA-256 of a file's bytes, in hex."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _why_not(source: str, error: Exception, *, download: bool) -> str:
    if not download:
        return "nothing was downloaded"
    if is_offline():
        return "HF_HUB_OFFLINE forbids downloads"
    return f"downloading it from {source} failed ({type(error).__name__})"


def _reachable(url: str) -> bool:
    """Return whether the host's name resolves; True with a proxy, which resolves names itself."""
    if urllib.request.getproxies():
        return True
    try:
        socket.getaddrinfo(urlsplit(url).hostname, None)
    except socket.gaierror:
        return False
    return True


def find_weights(cfg: DictConfig, *, download: bool = True) -> Path | None:
    """Find the file with the backbone's weights; return None for random weights.

    Raises:
        WeightsError: if it is not on this machine and cannot be downloaded (or must not be, without
            `download`).
    """
    if not cfg.backbone.pretrained:
        return None
    if cfg.backbone.checkpoint is not None:
        return local_file(str(cfg.backbone.checkpoint))
    file: Path = instantiate(cfg.backbone.weights, download=download)
    return file


def find_baseline_files(baselines: Mapping[str, Any], *, download: bool = True) -> dict[str, dict[str, Path]]:
    """Find the files with the weights of baselines, by baseline and argument of its model.

    Args:
        baselines: the configuration's `baselines`, or some of them.
        download: whether what is not on this machine may be downloaded.

    Raises:
        WeightsError: if files are not on this machine and cannot be downloaded (or must not be, without
            `download`); the message names all of them.
    """
    files: dict[str, dict[str, Path]] = {}
    errors = []
    for name, node in baselines.items():
        setting = f"baselines.{name}.checkpoint"
        files[name] = {}
        try:
            if node.checkpoint is not None:
                files[name]["weights"] = local_file(str(node.checkpoint), setting=setting)
            elif node.weights is not None:
                files[name]["weights"] = instantiate(node.weights, setting=setting, download=download)
            if node.calibration is not None:
                files[name]["calibration"] = instantiate(node.calibration)
        except WeightsError as error:
            errors.append(f"{name}: {error}")
    if errors:
        raise WeightsError("\n".join(errors))
    return files
