#!/usr/bin/env bash
# On a machine with a GPU: check that it gives the CPU's numbers, and measure what needs one, in at most 7 minutes.
#
#   benchmarks/device.sh wheels [DIR]           where there is a package index: get the wheels that the other lacks
#   benchmarks/device.sh [--smallest] [OUT]     there, without one: write OUT/<name of the GPU>.json
#
# The GPU's machine has torch, torchvision, lightning, torchmetrics, scikit-learn and scikit-image (SciPy, Pillow and
# rich come with them). The rest is installed from DIR, .wheels by default, for this run alone; where there is no DIR,
# everything is taken to be there. PYTHON names the interpreter; TARGET the Python and TARGET_PLATFORM the C library of
# the GPU's machine, x86-64. SSL_INVARIANCES_DIR names a checkout of the official code to compare with, if any.
# The status is 0 where all checks held. Other options: --help.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
wheels=${WHEELS:-.wheels}

if [ "${1:-}" = wheels ]; then
  wheels=${2:-$wheels}
  platforms=()
  for glibc in 17 27 28; do platforms+=(--platform "manylinux_2_${glibc}_x86_64"); done
  mkdir -p "$wheels"
  rm -f "$wheels"/*.whl
  "$python" -m pip download --quiet --no-deps --only-binary=:all: --constraint constraints.txt --dest "$wheels" \
    --implementation cp --python-version "${TARGET:-3.12}" "${platforms[@]}" --platform manylinux2014_x86_64 \
    kornia kornia_rs timm filelock jinja2 hydra-core omegaconf faiss-cpu \
    pydantic pydantic_core annotated_types typing_inspection
  # The one has no wheel in the index; the other is this project, for its entry points, built where it leaves no trace.
  copy=$(mktemp -d)
  trap 'rm -rf "$copy"' EXIT
  cp -r pyproject.toml README.md LICENSE solo_invariance hydra_plugins plugin_configs "$copy"
  PYTHONWARNINGS=ignore "$python" -m pip wheel --quiet --no-deps --wheel-dir "$wheels" 'antlr4-python3-runtime==4.9.*' "$copy"
  kilobytes=$(du -sk "$wheels" | cut -f1)
  echo "$wheels: $((kilobytes / 1024)) MB"
  [ "$kilobytes" -lt 60000 ] || { echo "$wheels: more than 60 MB, which may be too much to carry" >&2; exit 1; }
  exit
fi

if [ -d "$wheels" ]; then
  site=$(mktemp -d)
  trap 'rm -rf "$site"' EXIT
  "$python" -m pip install --quiet --no-index --no-deps --no-compile --target "$site" "$wheels"/*.whl
fi
# The code is the working tree's, even where a wheel of it is installed.
PYTHONPATH="$PWD${site:+:$site}${PYTHONPATH:+:$PYTHONPATH}" "$python" -m benchmarks.device --spent "$SECONDS" "$@"
