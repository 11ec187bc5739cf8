"""`zsiqa score`: pairs of image files, scored by the engine of `run.py`, without a data set and its labels."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zsiqa.cli.options import touch_output
from zsiqa.cli.score_output import Found, Outcome, as_json, as_text, write_csv
from zsiqa.types import ImagePair, ZsiqaError

if TYPE_CHECKING:
    import numpy as np
    from omegaconf import DictConfig
    from PIL import Image

    from zsiqa.scoring.engine import Scorer

GROUPS = ("backbone", "distance", "representation", "baseline", "protocol")
SETTINGS = (*GROUPS, "distances", "representations", "baselines", "window", "stride", "batch_tiles", "batch_images",
            "workers", "precision", "device", "seed")  # of --override
BaselineFiles = dict[str, dict[str, Path]]  # by baseline and argument of its model


@dataclass(frozen=True)
class Pass:
    """One engine, its metrics by their names in the output with their direction, and what must stand beside them."""

    scorer: Scorer
    names: dict[tuple[str, ...], str]
    higher_is_better: bool
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReflectPad:
    """A perturbation of the engine: images shorter than `least` pixels grow on the right and below, by reflection."""

    least: int

    def reference(self, image: Image.Image) -> Image.Image:
        """The reference as it is compared; the same object if it is large enough."""
        import numpy as np
        from PIL import Image

        missing = [max(0, self.least - side) for side in (image.height, image.width)]
        if not any(missing):
            return image
        mode = "reflect" if min(image.size) > 1 else "edge"
        padded: np.ndarray = np.pad(np.asarray(image), [(0, missing[0]), (0, missing[1]), (0, 0)], mode=mode)  # type: ignore[call-overload]
        return Image.fromarray(padded)

    distorted = reference


def add_parser(commands: Any) -> None:
    """Add the command to argparse's `commands`."""
    parser = commands.add_parser(
        "score", help="scores of a pair of images, or of two folders of them",
        description="Score distorted images against their references. Folders are paired by file name, in sub-folders "
                    "too; what has no counterpart under its full name, by its name without the extension. Files "
                    "that Pillow has no name for are no images. Images are decoded as by run.py: grey is repeated, "
                    "palettes are resolved, alpha is dropped, 16-bit RGB keeps its upper 8 bits, other images of more "
                    "than 8 bits a channel are refused; notes name files with several frames, of which the first is "
                    "scored, and those that EXIF would turn. Exit status 1 if a pair could not be scored, or a file "
                    "has no counterpart.")
    parser.add_argument("ref", type=Path, metavar="REF", help="the reference: a file, or a folder")
    parser.add_argument("dis", type=Path, metavar="DIS", help="the distorted image: a file, or a folder")
    for name, text in (("backbone", "NAME of configs/backbone, or several (efficientnet_lite0; none with --baseline)"),
                       ("distance", "several are computed from one pass (wsd)"),
                       ("representation", "features, embedding or both (features)"),
                       ("baseline", "as psnr,ms_ssim; alone, or with --backbone"),
                       ("protocol", "paper or textbook (paper)")):
        parser.add_argument(f"--{name}", metavar="NAME" if name == "protocol" else "A,B", help=text)
    parser.add_argument("--override", action="append", default=[], metavar="KEY=VALUE",
                        help="a further setting of run.py, as stride=112 or device=cpu; may be repeated")
    parser.add_argument("--pad", choices=["reflect"],
                        help="enlarge images with sides that are too short on the right and below, by reflection")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write a table here, one line a pair")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write scores, errors and notes here ('-': print)")
    parser.add_argument("--heatmap", type=Path, metavar="FILE",
                        help="draw where the images of one pair differ according to one metric; l2 and cosine of a ViT "
                             "show every token, others whole tiles (--override stride=56 shows more)")
    parser.set_defaults(command=_score)


def _score(options: argparse.Namespace) -> int:
    from zsiqa.datasets.inspection import image_files, passed_over
    from zsiqa.datasets.pairing import pair_up

    problems, pairs = pair_up(options.ref, options.dis)
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    check_outputs([options.csv, options.json, options.heatmap], pairs)
    for option, path in (("--csv", options.csv), ("--json", options.json)):
        if path is not None and str(path) != "-":
            touch_output(option, path)
    plans = [(cfg, *find_files(cfg)) for cfg in compose_all(options)]  # all weights before any work
    if options.heatmap:
        check_heatmap(options, [cfg for cfg, *_ in plans])
    found = Found([Outcome(pair) for pair in pairs], notes=dict.fromkeys(passed_over(image_files(pairs))))
    try:
        for one in (one for plan in plans for one in passes(*plan, options.pad)):
            found.directions.update(dict.fromkeys(one.names.values(), one.higher_is_better))
            found.notes.update(dict.fromkeys(one.notes))
            score(one, found.outcomes)
    finally:  # interrupted, or out of memory: what was scored is shown and written
        show(found, options)
    if options.heatmap and found.outcomes[0].scores:
        heatmap(options, plans[0][0], pairs[0])
    errors = [f"{outcome.pair.pair_id}: {error}" for outcome in found.outcomes for error in outcome.errors]
    for error in errors:
        print(f"error: {error}", file=sys.stderr)
    return 1 if problems or errors else 0


def check_outputs(outputs: Iterable[Path | None], pairs: Iterable[ImagePair]) -> None:
    """Refuse to write over an image that is to be scored, or two results to one file. May raise ZsiqaError."""
    taken = {path.resolve() for pair in pairs for path in (pair.ref_path, pair.dis_path)}
    for output in outputs:
        if output is None or str(output) == "-":
            continue
        if output.resolve() in taken:
            raise ZsiqaError(f"{output} is one of the images, or another output; name another file")
        taken.add(output.resolve())


def show(found: Found, options: argparse.Namespace) -> None:
    """Print the scores, and write what is asked for."""
    if options.csv is not None:
        write_csv(options.csv, found)
    if options.json is not None:
        text = json.dumps(as_json(found), indent=2, ensure_ascii=False, allow_nan=False)
        if str(options.json) == "-":
            print(text)
        else:
            options.json.write_text(text + "\n", encoding="utf-8")
    if str(options.json) != "-" and (text := as_text(found)):
        print(text)
    for note in found.notes:
        print(f"note: {note}", file=sys.stderr)


def check_heatmap(options: argparse.Namespace, configurations: Sequence[DictConfig]) -> None:
    """Check that there is one pair and one metric with a backbone. May raise ZsiqaError."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    if options.ref.is_dir():
        raise ZsiqaError("--heatmap is of one pair; give two files")
    cfg = configurations[0]
    if len(configurations) * len(cfg.distances) * len(cfg.representations) != 1 or cfg.backbone.model is None:
        raise ZsiqaError("--heatmap is of one metric; give one backbone, distance and representation")
    known = FigureCanvasAgg.get_supported_filetypes()
    if options.heatmap.suffix[1:].lower() not in known:
        raise ZsiqaError(f"--heatmap {options.heatmap}: unknown kind of picture; name it .{', .'.join(known)}")
    options.heatmap.parent.mkdir(parents=True, exist_ok=True)


def heatmap(options: argparse.Namespace, cfg: DictConfig, pair: ImagePair) -> None:
    """Draw the map of one pair that has been scored."""
    import numpy as np
    import torch

    from zsiqa.datasets.images import open_rgb
    from zsiqa.runs.machine import pick_device
    from zsiqa.scoring.heatmap import difference_map, draw
    from zsiqa.scoring.metric import Metric

    device, _ = pick_device(cfg.device)
    metric = Metric.from_config(cfg).to(device)
    pad = ReflectPad(cfg.window or 1 if options.pad else 1)
    arrays = [np.array(pad.reference(open_rgb(path))) for path in (pair.ref_path, pair.dis_path)]
    ref, dis = (torch.from_numpy(array).to(device).permute(2, 0, 1)[None].float() / 255 for array in arrays)
    draw(difference_map(metric, ref, dis), dis, metric.name, options.heatmap)
    print(f"wrote {options.heatmap}", file=sys.stderr)


def compose_all(options: argparse.Namespace) -> list[DictConfig]:
    """One checked configuration a backbone; the baselines are in the first. May raise ZsiqaError."""
    from zsiqa.config import check_overrides, check_settings, compose

    def chosen(name: str, value: str) -> str:
        return f"{name}=[{value}]" if "," in value else f"{name}={value}"

    given = {name: getattr(options, name) for name in GROUPS if getattr(options, name) is not None}
    backbones = given.pop("backbone", "").split(",")
    check_overrides(options.override, SETTINGS)
    found = []
    for number, backbone in enumerate(backbones):
        mine = {name: value for name, value in given.items() if not (number and name == "baseline")}
        cfg = compose(*(f"backbone={backbone}" for _ in [0] if backbone),
                      *(chosen(name, value) for name, value in mine.items()), *options.override)
        if cfg.backbone.model is None and (idle := [name for name in ("distance", "representation") if name in given]):
            raise ZsiqaError(f"--{idle[0]} needs a backbone; --baseline alone has none: add --backbone NAME")
        cfg.protocol.folder = "none"  # nothing is stored there, so any mixture of protocols will do
        check_settings(cfg)
        found.append(cfg)
    return found


def find_files(cfg: DictConfig) -> tuple[Path | None, BaselineFiles]:
    """The files with the weights of a configuration's backbone and baselines. May raise WeightsError."""
    from zsiqa.backbones.weights import find_baseline_files, find_weights

    return None if cfg.backbone.model is None else find_weights(cfg), find_baseline_files(cfg)


def passes(cfg: DictConfig, weights: Path | None, files: BaselineFiles, pad: str | None) -> Iterator[Pass]:
    """The engines of a configuration, each built when it is its turn: one of the backbone, one of each baseline."""
    import torch

    from zsiqa.config import metric_name
    from zsiqa.perturbations import Original
    from zsiqa.runs.describe import caveats, protocol_note
    from zsiqa.runs.fill import pick_workers
    from zsiqa.runs.machine import keep_freed_memory, pick_device
    from zsiqa.runs.runner import backbone_scorer, baseline_scorer

    device, _ = pick_device(cfg.device)
    if device == "cpu":
        keep_freed_memory()
    shared: dict[str, Any] = {"workers": pick_workers(cfg, device), "device": device,
                              "perturbations": {"original": Original()}}

    def padded(scorer: Scorer, least: int) -> Scorer:
        if pad:
            scorer.perturbations = {"original": ReflectPad(least)}
        return scorer

    if cfg.backbone.model is not None:
        torch.manual_seed(cfg.seed)
        metrics = [(representation, distance) for representation in cfg.representations for distance in cfg.distances]
        yield Pass(padded(backbone_scorer(cfg, weights, metrics, **shared), cfg.window or 1),
                   {metric: metric_name(cfg, *metric) for metric in metrics}, higher_is_better=False,
                   notes=tuple(dict.fromkeys(note for distance in cfg.distances for note in caveats(cfg, distance))))
    for name, node in cfg.baselines.items():
        scorer = baseline_scorer(cfg, files, [(name,)], **shared)
        yield Pass(padded(scorer, scorer.least_side[0]), {(name,): name}, higher_is_better=node.higher_is_better,
                   notes=tuple(filter(None, [protocol_note(cfg)])))


def score(one: Pass, outcomes: Sequence[Outcome]) -> None:
    """Add the scores of one engine, or the errors, to the outcomes."""
    from zsiqa.scoring.engine import Failed
    from zsiqa.terminal import track

    results: Any = one.scorer.score([outcome.pair for outcome in outcomes])
    if len(outcomes) > 1:
        results = track(results, total=len(outcomes), unit="images")
    for result in results:
        outcome = outcomes[result.index]
        if isinstance(result, Failed):
            error = str(result.error).removeprefix(f"{outcome.pair.pair_id} (original): ")
            if error.startswith("the image has"):  # too few pixels
                error += "; --pad reflect enlarges it"
            if error not in outcome.errors:
                outcome.errors.append(error)
        else:
            outcome.scores.update({one.names[metric]: value for metric, value in result.scores.items()})
