"""Any model of timm as a frozen backbone: outputs of its blocks and an embedding, in one forward pass.

Facts behind the settings of the paper's models (layer-norm epsilon, positions, blocks): docs/protocol.md
section 4.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import timm
from torch import Tensor, nn

from zsiqa.backbones.frozen import (
    FrozenBackbone,
    has_channels_last,
    layers_listed_by_timm,
    matching_layers,
)
from zsiqa.backbones.state_dicts import StateDict, load_strictly, read_state_dict
from zsiqa.backbones.whole_images import allow_any_size
from zsiqa.types import check_choice


class TimmBackbone(FrozenBackbone):
    """A model of timm; see `FrozenBackbone` for the output. Features are before any final norm.

    Args:
        model_name: timm's name.
        weights: a state dict file; None for random weights (seed the generator before).
        convert: maps the file's state dict to timm's names and shapes.
        layers: the modules whose outputs are the features: a pattern over module names, in which `*` stands
            for one part of a name, as in `blocks.*`. None: those that timm lists in the model's
            `feature_info`.
        embedding: `pooled`: the input vector of the classifier. `tokens`: every token of the last hidden
            state after the final norm (the paper's DINO embedding).
        normalize: `none` (the official code): the model sees [0, 1]. `native`: the mean and standard
            deviation that the weights were trained with.
        norm_eps: epsilon of every LayerNorm; None keeps timm's.
        model_kwargs: passed on to `timm.create_model`.

    Raises:
        ValueError: if an option is unknown, or no module is found for `layers`.
        WeightsError: if the weights do not fit.
    """

    def __init__(self, *, model_name: str, weights: Path | None,
                 convert: Callable[[StateDict], StateDict] | None = None, layers: str | None = None,
                 embedding: Literal["pooled", "tokens"] = "pooled",
                 normalize: Literal["none", "native"] = "none",
                 norm_eps: float | None = None, model_kwargs: dict[str, Any] | None = None) -> None:
        check_choice("embedding", embedding, ("pooled", "tokens"))
        check_choice("normalize", normalize, ("none", "native"))
        model: Any = timm.create_model(model_name, **(model_kwargs or {}))
        if weights is not None:
            state = read_state_dict(weights)
            load_strictly(model, convert(state) if convert else state, source=str(weights))
        if norm_eps is not None:
            for module in model.modules():
                if isinstance(module, nn.LayerNorm):
                    module.eps = norm_eps
        native = model.pretrained_cfg
        super().__init__(model,
                         layers=matching_layers(model, layers) if layers else layers_listed_by_timm(model),
                         channels_last=has_channels_last(model),
                         mean_and_std=(native["mean"], native["std"]) if normalize == "native" else None)
        self.embedding = embedding

    def allow_any_size(self) -> None:
        """Take images of any size; see `zsiqa.backbones.whole_images`."""
        self.patch = allow_any_size(self.model)

    def _run(self, pixels: Tensor) -> Any:
        return self.model.forward_features(pixels)

    def _vectors(self, result: Any) -> Tensor:
        pooled = self.embedding == "pooled"
        vectors: Tensor = self.model.forward_head(result, pre_logits=True).unsqueeze(1) if pooled else result
        return vectors
