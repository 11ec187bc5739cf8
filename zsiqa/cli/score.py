"""`zsiqa score`: score pairs of image files with the engine of `run.py`, without data set and labels."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zsiqa.cli.options import examples, touch_output
from zsiqa.cli.score_output import Found, Outcome, write
from zsiqa.terminal import escape
from zsiqa.types import ImagePair, ZsiqaError, require

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from zsiqa.runs.plan import FileKey, Pass
    from zsiqa.scoring.engine import Scorer

GROUPS = ("backbone", "distance", "representation", "baseline", "scale", "protocol")
SETTINGS = (*GROUPS, "distances", "representations", "baselines", "scales", "window", "stride", "batch_tiles",
            "batch_images", "workers", "max_megapixels", "precision", "device",
            "seed")  # that --override accepts


@dataclass(frozen=True)
class Engine:
    """A scoring engine and the properties of its metrics.

    Attributes:
        names: name in the output, by metric and condition.
        higher_is_better: direction of all its metrics.
        notes: caveats to print with the scores.
    """

    scorer: Scorer
    names: dict[FileKey, str]
    higher_is_better: bool
    notes: tuple[str, ...] = ()


def add_parser(commands: Any) -> None:
    """Add the subcommand to argparse's `commands`."""
    parser = commands.add_parser(
        "score", help="score a pair of images, a folder against one reference, or two folders",
        description="Score distorted images against their references. All images in and below a folder "
                    "are scored against one reference; files of two folders and their sub-folders are "
                    "paired by file name; a file without a counterpart of the same name is paired by its "
                    "name without the extension. Files whose extension Pillow does not know are left out, "
                    "and named. Images are decoded as by run.py: grey is repeated, palettes are resolved, "
                    "alpha is dropped, 16-bit RGB keeps its upper 8 bits, other images of more than 8 bits a "
                    "channel are refused. Notes name files with several frames, of which the first is "
                    "scored, and files that EXIF would turn. Exit status 1 if a pair could not be scored, "
                    "or a file has no counterpart.",
        **examples("zsiqa score reference.png distorted.png",
                   "zsiqa score reference.png distorted/ --baseline psnr,ms_ssim",
                   "zsiqa score references/ distorted/ --distance l2,cosine --csv scores.csv"))
    parser.add_argument("ref", type=Path, metavar="REF", help="the reference: a file, or a folder")
    parser.add_argument("dis", type=Path, metavar="DIS",
                        help="the distorted image: a file, or a folder, also if REF is one file")
    for name, text in (("backbone", "one or several (efficientnet_lite0; none with --baseline)"),
                       ("distance", "one or several; several are computed from one pass (cosine)"),
                       ("representation", "features, embedding or both (features)"),
                       ("baseline", "one or several, e.g. psnr,ms_ssim; alone, or with --backbone"),
                       ("scale", "size to score at: native, average_256, short_256, short_224; one or "
                                 "several (native)"),
                       ("protocol", "paper or textbook (paper)")):
        parser.add_argument(f"--{name}", metavar="NAME" if name == "protocol" else "A,B", help=text)
    parser.add_argument("--override", action="append", default=[], metavar="KEY=VALUE",
                        help="another setting of run.py, e.g. stride=112 or device=cpu; may be repeated")
    parser.add_argument("--pad", choices=["reflect"],
                        help="pad (scaled) images that are too small, on the right and below, by reflection")
    parser.add_argument("--max-megapixels", metavar="N",
                        help="decode images of at most N million pixels (100)")
    parser.add_argument("--csv", type=Path, metavar="FILE",
                        help="write a table here, one line per pair ('-': print it)")
    parser.add_argument("--json", type=Path, metavar="FILE",
                        help="write scores, errors and notes here ('-': print them)")
    parser.add_argument("--heatmap", type=Path, metavar="FILE",
                        help="draw where the images of one pair differ according to one metric; if its "
                             "distance has no value for each position, l2 of the same backbone is drawn")
    parser.set_defaults(command=_score)


def _score(options: argparse.Namespace) -> int:
    from zsiqa.datasets.inspection import image_files, skipped
    from zsiqa.datasets.pairing import ignored_files, pair_up
    from zsiqa.runs.plan import plan

    problems, pairs = pair_up(options.ref, options.dis)
    for problem in problems:
        print(f"error: {escape(problem)}", file=sys.stderr)
    check_outputs([options.csv, options.json, options.heatmap], pairs)
    for option, path in (("--csv", options.csv), ("--json", options.json)):
        if path is not None and str(path) != "-":
            touch_output(option, path)
    plans = [(cfg, [(one, one.find_weights()) for one in plan(cfg)])  # all weights before any work
             for cfg in compose_all(options)]
    if options.heatmap:
        check_heatmap(options, [cfg for cfg, *_ in plans])
    notes = skipped(image_files(pairs))
    if ignored := ignored_files(options.ref, options.dis):
        notes = [f"left out, by their extensions: {', '.join(ignored)}", *notes]
    found = Found([Outcome(pair) for pair in pairs], notes=dict.fromkeys(notes))
    try:
        for cfg, passes in plans:
            for engine in engines(cfg, passes, options.pad):
                found.directions.update(dict.fromkeys(engine.names.values(), engine.higher_is_better))
                found.notes.update(dict.fromkeys(engine.notes))
                score(engine, found.outcomes)
    finally:  # interrupted, or out of memory: what was scored is shown and written
        lost = write(found, options.csv, options.json)
    if options.heatmap and found.outcomes[0].scores:
        heatmap(options, plans[0][0], pairs[0])
    errors = [f"{outcome.pair.pair_id}: {error}" for outcome in found.outcomes for error in outcome.errors]
    for error in errors:
        print(f"error: {escape(error)}", file=sys.stderr)
    return 1 if problems or errors or lost else 0


def check_outputs(outputs: Iterable[Path | None], pairs: Iterable[ImagePair]) -> None:
    """Refuse outputs that would overwrite an image of a pair or each other.

    Raises:
        ZsiqaError: if an output is one of the images, or another output.
    """
    outputs = list(outputs)
    if [str(output) for output in outputs].count("-") > 1:
        raise ZsiqaError("--csv - and --json - cannot both be printed; name a file for one of them")
    taken = {path.resolve() for pair in pairs for path in (pair.ref_path, pair.dis_path)}
    for output in outputs:
        if output is None or str(output) == "-":
            continue
        if output.resolve() in taken:
            raise ZsiqaError(f"{output} is one of the images, or another output; name another file")
        taken.add(output.resolve())


def check_heatmap(options: argparse.Namespace, configurations: Sequence[DictConfig]) -> None:
    """Check that there is one pair and one metric with a backbone.

    Raises:
        ZsiqaError: if not, or if the kind of picture is unknown.
    """
    require("--heatmap", "matplotlib")
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    if options.dis.is_dir():
        raise ZsiqaError("--heatmap is of one pair; give two files")
    cfg = configurations[0]
    if (len(configurations) * len(cfg.distances) * len(cfg.representations) * len(cfg.scales) != 1
            or cfg.backbone.model is None):
        raise ZsiqaError("--heatmap is of one metric; give one backbone, distance, representation and scale")
    known = FigureCanvasAgg.get_supported_filetypes()
    if options.heatmap.suffix[1:].lower() not in known:
        raise ZsiqaError(f"--heatmap {options.heatmap}: unknown kind of picture; "
                         f"name it .{', .'.join(known)}")
    options.heatmap.parent.mkdir(parents=True, exist_ok=True)


def heatmap(options: argparse.Namespace, cfg: DictConfig, pair: ImagePair) -> None:
    """Draw the heat map of the pair at the scale of the metric, and write it."""
    import numpy as np
    import torch

    from zsiqa.config import compose
    from zsiqa.datasets.images import open_rgb
    from zsiqa.runs.machine import pick_device
    from zsiqa.scoring.heatmap import difference_map, draw, tells_positions
    from zsiqa.scoring.metric import Metric
    from zsiqa.scoring.scaling import Native, ReflectPad

    device, _ = pick_device(cfg.device)
    metric = Metric.from_config(cfg).to(device)
    scale = ReflectPad(metric.scale, cfg.window or 1 if options.pad else 1)
    arrays = [np.array(open_rgb(path, max_megapixels=cfg.max_megapixels))
              for path in (pair.ref_path, pair.dis_path)]
    ref, dis = (scale(torch.from_numpy(array).permute(2, 0, 1)[None].float() / 255).to(device)
                for array in arrays)
    metric.scale = Native()  # the images are scaled already
    if not tells_positions(metric, ref, dis):
        features = compose("distance=l2", "representation=features")
        cfg.distances, cfg.representations = features.distances, features.representations
        metric = Metric.from_config(cfg).to(device)
        metric.scale = Native()
    title = f"{metric.name}: {float(metric(ref, dis)):.4g} (0 for equal images)"
    draw(difference_map(metric, ref, dis), ref, dis, title, options.heatmap)
    print(f"wrote {options.heatmap}, by {metric.name}", file=sys.stderr)


def compose_all(options: argparse.Namespace) -> list[DictConfig]:
    """Compose and check one configuration per backbone; the first one has the baselines.

    Raises:
        ZsiqaError: if a setting is wrong or has no effect.
    """
    from zsiqa.config import check_overrides, check_settings, compose

    def chosen(name: str, value: str) -> str:
        return f"{name}=[{value}]" if "," in value else f"{name}={value}"

    given = {name: value for name in (*GROUPS, "max_megapixels")
             if (value := getattr(options, name)) is not None}
    default = [] if "distance" in given else ["distance=cosine"]  # docs/scoring.md says why
    backbones = given.pop("backbone", "").split(",")
    check_overrides(options.override, SETTINGS)
    found = []
    for number, backbone in enumerate(backbones):
        settings = {name: value for name, value in given.items() if not (number and name == "baseline")}
        cfg = compose(*default, *([f"backbone={backbone}"] if backbone else []),
                      *(chosen(name, value) for name, value in settings.items()), *options.override)
        unused = [name for name in ("distance", "representation") if name in given]
        if cfg.backbone.model is None and unused:
            raise ZsiqaError(f"--{unused[0]} needs a backbone; --baseline alone has none: "
                             f"add --backbone NAME")
        cfg.protocol.folder = "none"  # nothing is stored, so any combination of protocol settings is allowed
        check_settings(cfg)
        found.append(cfg)
    return found


def engines(cfg: DictConfig, planned: Sequence[tuple[Pass, Any]], pad: str | None) -> Iterator[Engine]:
    """Build the engines of a configuration, each at its turn: one of the backbone, one of each baseline.

    Args:
        cfg: the configuration.
        planned: its passes with their weights.
        pad: option --pad; None for no padding.
    """
    import torch

    from zsiqa.runs.conditions import build_conditions, conditions
    from zsiqa.runs.machine import keep_freed_memory, pick_device
    from zsiqa.runs.resume import pick_workers
    from zsiqa.scoring.scaling import ReflectPad

    device, _ = pick_device(cfg.device)
    if device == "cpu":
        keep_freed_memory()
    for one, weights in planned:
        of_backbone = len(one.metrics[0]) > 1
        # Baselines one by one: an image may be too small for one of them and large enough for another.
        for metrics in [one.metrics] if of_backbone else [[metric] for metric in one.metrics]:
            torch.manual_seed(cfg.seed)
            scorer = one.build(weights, metrics, workers=pick_workers(cfg, device), device=device,
                               **build_conditions(cfg, conditions(cfg)))
            if pad:
                least = scorer.window or scorer.least_side[0]
                scorer.scales = {name: ReflectPad(scale, least) for name, scale in scorer.scales.items()}
            files = {key: file for key, file in one.files.items() if key.metric in metrics}
            yield Engine(scorer, {key: file.path.parent.name for key, file in files.items()},
                         next(iter(files.values())).higher_is_better,
                         tuple(dict.fromkeys([*(note for file in files.values() for note in file.notes),
                                              *([cfg.backbone.unvalidated] if of_backbone
                                                and cfg.backbone.pretrained
                                                and cfg.backbone.unvalidated else [])])))


def score(one: Engine, outcomes: Sequence[Outcome]) -> None:
    """Add the scores or errors of an engine to the outcomes."""
    from zsiqa.runs.plan import FileKey
    from zsiqa.scoring.engine import Failed, Scored
    from zsiqa.terminal import track

    results: Any = one.scorer.score([outcome.pair for outcome in outcomes])
    if len(outcomes) > 1:
        results = track(results, total=len(outcomes) * len(one.scorer.perturbations), unit="images")
    for result in results:
        outcome = outcomes[result.index]
        if isinstance(result, Scored):
            outcome.scores.update({one.names[FileKey(metric, result.condition)]: value
                                   for metric, value in result.scores.items()})
        for problem in [str(result.error)] if isinstance(result, Failed) else result.undefined.values():
            error = problem.removeprefix(f"{outcome.pair.pair_id} ({result.condition}): ")
            if error.startswith("the image has"):  # too few pixels
                error += "; --pad reflect enlarges it"
            if error not in outcome.errors:
                outcome.errors.append(error)
