# A gateway: gemini-gateway, or mock-gateway with SERVICE=mock-gateway. No GStreamer, no robot SDK.
# Build from the repository's root: docker build -f services/gateway.Dockerfile .
ARG BASE=python:3.13-slim

FROM ${BASE} AS builder
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
ARG SERVICE=gemini-gateway
WORKDIR /src
COPY requirements/build.txt requirements/build.txt
RUN pip install --no-cache-dir --root-user-action=ignore --require-hashes -r requirements/build.txt \
 && python3 -m venv --without-pip /venv
ENV VIRTUAL_ENV=/venv UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1
COPY services/${SERVICE}/requirements.txt requirements.txt
RUN uv pip install --no-cache --require-hashes -r requirements.txt
COPY shared shared
COPY services/${SERVICE} services/${SERVICE}
RUN uv pip install --no-cache --no-sources --no-build-isolation --no-deps shared/reachy-link shared/reachy-service shared/reachy-gateway services/${SERVICE} && rm -f /venv/.lock
# Files of a clone have their owner's modes, which may keep everybody else from reading. So set the modes here.
COPY services/healthy /venv/bin/healthy
RUN if [ -e services/${SERVICE}/demo.toml ]; then cp services/${SERVICE}/demo.toml /venv/demo.toml; fi \
 && chmod -R u=rwX,go=rX /venv && chmod 755 /venv/bin/healthy && /venv/bin/healthy true

FROM ${BASE}
ARG SERVICE=gemini-gateway
RUN find / -xdev -type f -perm /6000 -exec chmod a-s {} + && groupadd --gid 10001 reachy && useradd --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin reachy \
 && install -d -o reachy -g reachy /keys /keys/admitted /data \
 && ln -s /venv/bin/${SERVICE} /usr/local/bin/gateway
COPY --from=builder /venv /venv
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 \
    REACHY_KEYS_DIR=/keys REACHY_HEALTH_PORT=8080
USER reachy
EXPOSE 5555 5556
HEALTHCHECK --interval=2s --timeout=70s --start-period=30s --retries=5 CMD ["healthy", "python", "-m", "reachy_service.well"]
ENTRYPOINT ["gateway"]
