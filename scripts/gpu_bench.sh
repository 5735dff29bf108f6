#!/bin/sh
# Training speed and memory on one GPU, in under ten minutes: CenterNet3D DLA-34 at 384 x 1280 and FCOS3D R101 at
# 900 x 1600 without injection and with it in the loader's workers, the voxel renderer on the device, StyleGAN2 at 256
# and Lift3D at the paper's size, and a short training of a small detector. Writes one JSON record.
#   scripts/gpu_bench.sh [--out FILE.json] [--dry-run]     --dry-run: tiny sizes on the CPU, to see that it runs
# PYTHON names the interpreter (default: the clone's .venv).
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
out=runs/gpu_bench.json
dry=
while [ $# -gt 0 ]; do
    case $1 in
        --out) [ $# -gt 1 ] || { echo "error: --out: expected a file" >&2; exit 2; }; out=$2; shift 2 ;;
        -h|--help) sed -n '2,6s/^# *//p' scripts/gpu_bench.sh; exit 0 ;;
        --dry-run) dry=--dry-run; shift ;;
        *) echo "error: $1: expected --out FILE.json or --dry-run" >&2; exit 2 ;;
    esac
done
if ! "$python" -c 'import lit, torch'; then
    echo "error: $python: expected a Python that has this project and torch; \`make demo\` makes one, PYTHON names another" >&2
    exit 2
fi
if [ -z "$dry" ] && ! "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
    echo "error: no GPU that torch can use; expected one, or --dry-run for a trial on the CPU" >&2
    exit 2
fi
exec "$python" -m lit bench training --out "$out" $dry
