#!/usr/bin/env bash
# peers.sh FOLDER [trl] [verl]: installs the peers that we are compared with, each in a virtual environment of its own,
# FOLDER/trl and FOLDER/verl (default: both), with our versions of torch and transformers if the peer allows them. Called by
# `make peers` and by the benches; a second call is instant. verl is installed without its dependencies: its formulas need only
# torch and a few small packages.
set -Eeuo pipefail
folder=$1
shift
[ $# -gt 0 ] || set -- trl verl
python=${PYTHON:-python3}
cpu_index=https://download.pytorch.org/whl/cpu
mkdir -p "$folder"

install() { "$venv/bin/python" -m pip install "$@" >>"$log" 2>&1; }

for peer in "$@"; do
    venv=$folder/$peer log=$folder/$peer.log
    [ -e "$venv/.ready" ] && continue
    echo "peers: $peer into $venv (minutes)"
    trap 'echo "peers: failed; the end of $log:" >&2; tail -n 15 "$log" >&2' ERR
    [ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
    : >"$log"
    if ! timeout 300 "$venv/bin/python" -m pip install --retries 0 --timeout 15 --index-url "$cpu_index" torch==2.13.0 \
        torchvision==0.28.0 >>"$log" 2>&1; then
        install torch==2.13.0
        install --no-deps torchvision==0.28.0
    fi
    case $peer in
    trl) install trl==1.16.0 transformers==5.19.0 accelerate datasets pillow torch==2.13.0 ;;
    verl)
        install "transformers<5.11" numpy omegaconf hydra-core "tensordict>=0.8,<=0.10,!=0.9.0" codetiming orjson pillow packaging \
            ray==2.60.0 torch==2.13.0
        install --no-deps verl==0.9.1
        ;;
    *)
        echo "peers: no such peer: $peer" >&2
        exit 1
        ;;
    esac
    if ! "$venv/bin/python" -c 'import torchvision' >>"$log" 2>&1; then # built for CUDA: see setup.sh
        site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
        cp scripts/torchvision_cpu_ops.py "$site/_torchvision_cpu_ops.py"
        echo "import _torchvision_cpu_ops" >"$site/_torchvision_cpu_ops.pth"
        "$venv/bin/python" -c 'import torchvision' >>"$log" 2>&1
    fi
    touch "$venv/.ready"
done
