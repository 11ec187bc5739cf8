#!/usr/bin/env bash
# `make demo`: a part of the demo's pairs, with all metrics but the slow ones, as a table and a report.
# `make demo-full`: all pairs, and FSIMc and ST-LPIPS on original images.
#
#     scripts/demo.sh [full]
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-$root/.venv/bin/python}
export PYTHONPATH=$root

run() { # on a terminal, progress is shown; elsewhere, what a run says is shown only if it fails
    if [ -t 2 ]; then
        "$python" "$root/run.py" dataset=demo "$@" > /dev/null
    else
        said=$("$python" "$root/run.py" dataset=demo "$@" 2>&1) || { echo "$said" >&2; exit 1; }
    fi
}
report() {
    if [ -t 2 ]; then
        "$python" -m zsiqa.cli.main report --dataset demo
    else
        said=$("$python" -m zsiqa.cli.main report --dataset demo 2>&1) || { echo "$said" >&2; exit 1; }
        grep '^wrote' <<< "$said"
    fi
}

if [ "${1:-}" = full ]; then
    part=(perturbation=all) table=demo what="240 pairs"
else
    part=('dataset.references=[astronaut,china,flower]' 'dataset.types=[jpeg,contrast_change]'
          'perturbation=[original,translate,rotate]')
    table=demo_short what="30 of the demo's 240 pairs"
fi
echo "scoring $what with PSNR, MS-SSIM, GMSD, MDSI, HaarPSI and EfficientNet-Lite0 (five distances),"
echo "  and one of these metrics once more, at a smaller scale (docs/scale.md) ..."
# At the same time: both load PyTorch first. Through a pipe: of the two, one shows its progress.
run "${part[@]}" backbone=efficientnet_lite0 distance=cosine scale=short_224 2> >(cat >&2) &
run "${part[@]}" backbone=efficientnet_lite0 distance=all representation=all \
    'baseline=[psnr,ms_ssim,gmsd,mdsi,haarpsi]'
wait $!
if [ "${1:-}" = full ]; then
    echo "scoring the original images with FSIMc and ST-LPIPS, which are slow ..."
    run 'baseline=[fsimc,stlpips_alex,stlpips_vgg]'
fi
"$python" -m zsiqa.cli.main tables --table $table
report
echo "Seen: moved by 1 % or turned by 1 degree, images lose agreement with the levels under PSNR and MS-SSIM, but not under"
echo "  the embedding of EfficientNet-Lite0. At a short side of 224 pixels, not 384, the cosine of its features agrees better."
echo "Next: open results/report/index.html; your own images: .venv/bin/zsiqa score REF DIS; everything: make demo-full"
