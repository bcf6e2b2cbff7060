# danlu on the CPU, without a compiler; docs/install.md.
#
#   docker build -t danlu .
#   docker run --rm -v "$PWD:/work" danlu train tiny
FROM python:3.12-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/danlu
# A layer of its own: it is the largest and changes least. This index has builds without CUDA.
RUN /opt/danlu/bin/pip install --index-url https://download.pytorch.org/whl/cpu "torch>=2.11,<2.14"
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY danlu ./danlu
RUN /opt/danlu/bin/pip install --constraint constraints.txt ".[bpe,images,watch]"

FROM python:3.12-slim-bookworm
RUN useradd --create-home --uid 1000 danlu && install --directory --owner danlu /work
COPY --from=build /opt/danlu /opt/danlu
# USER and the caches stand here for those who start it as another user: docker run --user "$(id -u)".
ENV PATH=/opt/danlu/bin:$PATH USER=danlu DANLU_CACHE=/tmp/danlu TORCHINDUCTOR_CACHE_DIR=/tmp/inductor
USER danlu
WORKDIR /work
ENTRYPOINT ["danlu"]
