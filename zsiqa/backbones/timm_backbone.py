"""Any model of timm as a frozen backbone: the outputs of its blocks, and an embedding, in one forward pass.

Facts behind the settings of the paper's models (layer-norm epsilon, positions, blocks): docs/protocol.md section 4.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import timm
import torch
from torch import Tensor, nn

from zsiqa.backbones.state_dicts import StateDict, load_strictly, read_state_dict
from zsiqa.types import ZsiqaError

Features = tuple[Tensor, ...]  # as in zsiqa.distances, which backbones do not import


class TimmBackbone(nn.Module):
    """A frozen timm model that gives features and embedding of a batch of tiles.

    Calling it with tiles (B, 3, H, W), RGB in [0, 1], returns a mapping of representation to `Features`:

    - `features`: outputs of the blocks in firing order, stacked where consecutive shapes agree: (B, L, N, D)
      for tokens (prefix tokens included, before any final norm), (B, L, C, H, W) for maps.
    - `embedding`: one stack (B, 1, N, D) of l2-normalised vectors.

    All are float32 and contiguous, whatever precision the model ran in. The model is in evaluation mode.

    Args:
        model_name: timm's name.
        weights: a state dict file; None for random weights (seed the generator before).
        convert: maps the file's state dict to timm's names and shapes.
        layers: which modules' outputs are the features, a pattern over module names in which `*` stands for one
            part of a name, as in `blocks.*`. None: those that timm lists in the model's `feature_info`.
        embedding: `pooled`, the vector that the classifier would see; `tokens`, every token of the last hidden
            state after the final norm (the paper's DINO embedding).
        normalize: `none`, the official code: the model sees [0, 1]. `native`: the mean and standard deviation that
            the weights were trained with.
        norm_eps: epsilon of every LayerNorm; None keeps timm's.
        model_kwargs: passed on to `timm.create_model`.

    Raises:
        ValueError: if an option is unknown, or no module is found for `layers`.
        WeightsError: if the weights do not fit.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, *, model_name: str, weights: Path | None,
                 convert: Callable[[StateDict], StateDict] | None = None, layers: str | None = None,
                 embedding: Literal["pooled", "tokens"] = "pooled", normalize: Literal["none", "native"] = "none",
                 norm_eps: float | None = None, model_kwargs: dict[str, Any] | None = None) -> None:
        super().__init__()
        for option, value, choices in (("embedding", embedding, ("pooled", "tokens")),
                                       ("normalize", normalize, ("none", "native"))):
            if value not in choices:
                raise ValueError(f"{option} must be one of {', '.join(choices)}, found {value!r}")
        self.model: Any = timm.create_model(model_name, **(model_kwargs or {}))
        if weights is not None:
            state = read_state_dict(weights)
            load_strictly(self.model, convert(state) if convert else state, source=str(weights))
        if norm_eps is not None:
            for module in self.model.modules():
                if isinstance(module, nn.LayerNorm):
                    module.eps = norm_eps
        self.embedding = embedding
        native: Any = self.model.pretrained_cfg if normalize == "native" else {"mean": (0, 0, 0), "std": (1, 1, 1)}
        self.register_buffer("mean", torch.tensor(native["mean"], dtype=torch.float32).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(native["std"], dtype=torch.float32).view(3, 1, 1))
        self._outputs: list[Tensor] = []
        self._layers = self._find_layers(layers)
        for name in self._layers:
            self.model.get_submodule(name).register_forward_hook(lambda _module, _input, out: self._outputs.append(out))
        # The engine's tiles are channels last in memory; a model in the same layout need not convert them.
        self.to(memory_format=torch.channels_last).eval().requires_grad_(False)

    def _find_layers(self, pattern: str | None) -> dict[str, int | None]:
        """Names of the modules whose outputs are the features, with their number of channels where timm says it."""
        names = [name for name, _ in self.model.named_modules() if name]
        if pattern is None:
            listed = {info["module"]: info["num_chs"] for info in getattr(self.model, "feature_info", [])}
            if not listed or not listed.keys() <= set(names):
                raise ValueError(f"timm does not say which modules of {type(self.model).__name__} hold its features; "
                                 f"give backbone.model.layers=PATTERN, as in blocks.*; its modules begin with "
                                 f"{', '.join(name for name in names if '.' not in name)}")
            return listed
        found = [name for name in names if re.fullmatch(re.escape(pattern).replace(r"\*", "[^.]+"), name)]
        if not found:
            raise ValueError(f"no module of {type(self.model).__name__} matches layers={pattern!r}; "
                             f"its modules begin with {', '.join(name for name in names if '.' not in name)}")
        return dict.fromkeys(found)

    def forward(self, tiles: Tensor) -> dict[str, Features]:
        """Tiles (B, 3, H, W), RGB in [0, 1], to `features` and `embedding`; see the class."""
        try:
            last = self.model.forward_features((tiles - self.mean) / self.std)
            outputs = self._checked_outputs()
        except AssertionError as error:  # how timm refuses a size
            raise ZsiqaError(f"the backbone cannot take tiles of {tiles.shape[2]} x {tiles.shape[3]} pixels ({error}); "
                             f"set window, or the model's own size, e.g. backbone.model.model_kwargs.img_size"
                             ) from error
        finally:
            self._outputs.clear()  # after a failure too: out of memory, every tensor counts
        features = tuple(torch.stack(list(same), dim=1).float().contiguous()
                         for _, same in groupby(outputs, key=lambda out: out.shape))
        return {"features": features, "embedding": (self._embed(last),)}

    def _checked_outputs(self) -> list[Tensor]:
        """One output for each layer: tokens (B, N, D), or maps brought to (B, C, H, W)."""
        if len(self._outputs) != len(self._layers) or not all(
                isinstance(out, Tensor) and out.ndim in (3, 4) for out in self._outputs):
            found = ", ".join(str(tuple(out.shape)) if isinstance(out, Tensor) else type(out).__name__
                              for out in self._outputs)
            raise ZsiqaError(f"the layers {', '.join(self._layers)} should give one tensor (B, N, D) or (B, C, H, W) "
                             f"each, but gave: {found or 'nothing'}; name others with backbone.model.layers=PATTERN")
        return [self._channels_first(out, channels)
                for out, channels in zip(self._outputs, self._layers.values(), strict=True)]

    def _channels_first(self, out: Tensor, channels: int | None) -> Tensor:
        if channels is None:
            last = getattr(self.model, "output_fmt", "NCHW") == "NHWC"
        else:
            last = out.shape[1] != channels and out.shape[-1] == channels
        return out.permute(0, 3, 1, 2) if out.ndim == 4 and last else out

    def _embed(self, last: Tensor) -> Tensor:
        if self.embedding == "pooled":
            last = self.model.forward_head(last, pre_logits=True).unsqueeze(1)  # B, 1, D
        return nn.functional.normalize(last.float(), dim=-1).unsqueeze(1)  # B, 1, N, D
