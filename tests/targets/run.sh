#!/usr/bin/env bash
# Test the built wheels in other environments: tflite-runtime with old packages, quantization-aware training (.venv-qat,
# made by the Makefile), MediaPipe, tflite-micro, a browser, and every newer Python that this machine has. Prints NOT RUN
# for each that cannot run here.
set -euo pipefail
cd "$(dirname "$0")/../.."
: "${PYTHON:=python3.11}" "${VENV:=.venv}"
install=(-m pip install --quiet --disable-pip-version-check)

rm -rf build/wheels
"$VENV/bin/python" -m build --wheel --no-isolation --outdir build/wheels edge_runtime >/dev/null
"$VENV/bin/python" -m build --wheel --no-isolation --outdir build/wheels . >/dev/null
wheel=$(echo build/wheels/spot_edge-*.whl) toolkit=$(echo build/wheels/spot_edge_toolkit-*.whl)

fresh() { # PYTHON FOLDER: an empty environment
    rm -rf "$2"
    "$1" -m venv "$2"
}

echo "== bookworm: tflite-runtime, numpy 1.24, Pillow 9.4"
fresh "$PYTHON" .venv-bookworm
.venv-bookworm/bin/python "${install[@]}" -c constraints/bookworm.txt tflite-runtime numpy pillow click pytest pytest-xdist
.venv-bookworm/bin/python "${install[@]}" --no-deps "$wheel"
.venv-bookworm/bin/python -m pytest -q --numprocesses=auto --dist=loadfile tests/edge_runtime tests/fuzz
.venv-bookworm/bin/python "${install[@]}" --no-deps "$toolkit"
TFLITE_RUNTIME_PYTHON=.venv-bookworm/bin/python TF_CPP_MIN_LOG_LEVEL=3 \
    "$VENV/bin/python" -m pytest -q tests/targets/check_tflite_runtime.py

echo "== quantization-aware training: TF Model Optimization, older Keras, numpy 1"
QAT_PYTHON=.venv-qat/bin/python TF_CPP_MIN_LOG_LEVEL=3 "$VENV/bin/python" -m pytest -q tests/targets/check_qat.py

echo "== MediaPipe on the embedded model"
fresh "$PYTHON" .venv-mediapipe
.venv-mediapipe/bin/python "${install[@]}" -c constraints/mediapipe.txt mediapipe pytest "$wheel"
PYTHONPATH=benchmarks .venv-mediapipe/bin/python -m pytest -q -s tests/targets/check_mediapipe.py # spot_bench draws the images

echo "== tflite-micro: files for microcontrollers"
if [ "$(uname -sm)" = "Linux x86_64" ]; then
    make --silent check TARGET=micro VENV="$VENV"
else
    echo "!! NOT RUN: tflite-micro has wheels for 64-bit x86 Linux only"
fi

echo "== LiteRT.js in a Chromium: files for browsers, and the example page"
if command -v npm >/dev/null && command -v chromium chromium-browser google-chrome >/dev/null; then
    make --silent check TARGET=browser VENV="$VENV"
else
    echo "!! NOT RUN: this machine has no npm, or no Chromium"
fi

tried=" "
for candidate in python3.12 python3.13 python3.14 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.1[2-4]*/bin/python; do
    found=$("$candidate" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue
    case "$tried" in *" $found "*) continue ;; esac
    tried="$tried$found "
    echo "== Python $found"
    fresh "$candidate" ".venv-$found"
    ".venv-$found/bin/python" "${install[@]}" -c constraints/newer.txt "$wheel" pytest pytest-xdist
    ".venv-$found/bin/python" -m pytest -q --numprocesses=auto --dist=loadfile tests/edge_runtime tests/fuzz
done
for wanted in 3.12 3.13 3.14; do
    case "$tried" in *" $wanted "*) ;; *) echo "!! NOT RUN: this machine has no Python $wanted" ;; esac
done
