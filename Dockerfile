# The image of every pod and node. From the top of a checkout:
#   docker build -t REGISTRY/curlvpr:0.1.0 .                              for GPUs
#   docker build -t REGISTRY/curlvpr:0.1.0-cpu --build-arg EXTRA=cpu .    for CPUs alone
# For GPUs: the wheels of torch and vLLM bring CUDA 13.0 along, so no CUDA is needed in the base image; the node needs
# NVIDIA's driver 580 or newer and its container toolkit. x86-64 only, as the versions in constraints-*.txt.
FROM python:3.11-bookworm
ARG EXTRA=gpu

# The container toolkit then refuses to start the GPU image on an older driver, and says why.
ENV NVIDIA_REQUIRE_CUDA="cuda>=13.0" \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore \
    PYTHONUNBUFFERED=1

# The number is deploy.yaml's runAsUser. Ray keeps its files in /tmp, libraries theirs in this home.
RUN useradd --create-home --uid 1000 ray
WORKDIR /curlvpr

# First what changes seldom, the dependencies: without packages beside it, pyproject.toml installs those alone.
COPY pyproject.toml README.md LICENSE constraints-cpu.txt constraints-gpu.txt ./
COPY scripts scripts
RUN bash scripts/setup.sh /usr/local "$EXTRA" ".[$EXTRA]"

COPY . .
RUN pip install --no-deps --force-reinstall . && rm -rf build *.egg-info

USER 1000
WORKDIR /home/ray
CMD ["curlvpr", "--help"]
