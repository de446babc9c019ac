#!/usr/bin/env bash
# All that is measured on a GPU, on a bare machine: Python 3.12 with torch 2.11 and transformers 5.17 will do, DVC is not needed.
# What is missing of the small packages is installed; without a network, bring wheels and set PIP_FIND_LINKS and PIP_NO_INDEX.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
missing() { "$python" -c "import importlib.util, sys; sys.exit(importlib.util.find_spec('$1') is not None)"; }
for package in peft pydantic pydantic_core orjson tqdm yaml:pyyaml pyarrow datasets trl liger_kernel:liger-kernel; do
    if missing "${package%%:*}"; then
        "$python" -m pip install --quiet --no-deps "${package##*:}" || echo "not installed: ${package##*:}" >&2
    fi
done
"$python" -m benchmarks.gpu "$@"
"$python" -m benchmarks.preflight --cuda
