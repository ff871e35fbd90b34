#!/usr/bin/env bash
# setup.sh VENV EXTRA [PACKAGE]: makes a virtual environment, with this checkout and what its development needs, or with
# PACKAGE alone, in the versions of constraints-EXTRA.txt. Called by `make setup` and by the Dockerfile.
set -Eeuo pipefail  # -E: the trap below also holds inside functions
venv=$1 extra=$2
if [ $# -gt 2 ]; then package=("$3"); else package=(-e ".[$extra,dev]"); fi
python=${PYTHON:-python3}
cpu_index=https://download.pytorch.org/whl/cpu
log=$venv/setup.log

"$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' ||
    { echo "setup: Python 3.11 or 3.12 is needed; $python is $("$python" -V 2>&1). Try: make PYTHON=python3.11 …" >&2; exit 1; }

[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
: >"$log"
pip() { "$venv/bin/python" -m pip "$@" >>"$log" 2>&1; }
install() { pip install --no-compile "$@"; }  # everything is compiled at the end, on all cores
step() { echo "setup: $*"; echo "== $*" >>"$log"; }
trap 'echo "setup: failed; the end of $log:" >&2; tail -n 15 "$log" >&2' ERR

if [ "$extra" = cpu ]; then
    step "torch 2.13.0 for CPU"
    # PyTorch's CPU index has proper CPU wheels of both. If it cannot be reached, take what pip has.
    if ! timeout 300 "$venv/bin/python" -m pip install --no-compile --retries 0 --timeout 15 --index-url "$cpu_index" \
        torch==2.13.0 torchvision==0.28.0 >>"$log" 2>&1; then
        echo "setup: PyTorch's CPU index cannot be reached; taking torch from pip's own sources"
        install torch==2.13.0
    fi
fi
step "${package[*]} and its dependencies (a few minutes the first time)"
install -c "constraints-$extra.txt" "${package[@]}"
site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
if [ "$extra" = cpu ]; then
    if "$venv/bin/python" -c 'import torchvision' >>"$log" 2>&1; then :; else
        step "this torchvision is built for CUDA; making its Python part loadable"
        cp scripts/torchvision_cpu_ops.py "$site/_torchvision_cpu_ops.py"
        echo "import _torchvision_cpu_ops" >"$site/_torchvision_cpu_ops.pth"
        # Both are linked to CUDA too, and nothing here needs them.
        pip uninstall -y torchaudio torchcodec
        "$venv/bin/python" -c 'import torchvision' >>"$log" 2>&1
    fi
fi
# A run starts many processes. With PYTHONDONTWRITEBYTECODE set, each would compile vllm and torch again.
step "compiling Python files (a minute)"
"$venv/bin/python" -m compileall -q -j 0 -x '/tests/|/transformers/models/(?!auto|qwen)' "$site" >>"$log" 2>&1 ||
    true  # a few files are templates, not Python
step "done: $("$venv/bin/python" -V), environment in $venv"
