# Two stages: what builds the worker stays behind. By default it listens on all addresses of the
# container, with a token that it makes at the first start: /var/lib/vera-worker/token.
FROM python:3.12-slim AS build

WORKDIR /src
COPY requirements requirements
# Everything is pinned with its hash; the packages come compiled, so no compiler is needed.
RUN pip install --no-cache-dir --require-hashes -r requirements/build.txt \
    && python -m venv --without-pip /opt/vera-worker \
    && pip --python /opt/vera-worker/bin/python install --no-cache-dir --only-binary :all: \
        --require-hashes -r requirements/runtime.txt
COPY . .
RUN pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheels . \
    && pip --python /opt/vera-worker/bin/python install --no-cache-dir --no-deps /wheels/*.whl

FROM python:3.12-slim

LABEL org.opencontainers.image.title="vera-worker" \
    org.opencontainers.image.description="A task-execution node: REST in, isolated execution with hard limits, result out." \
    org.opencontainers.image.version="0.1.0" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.base.name="docker.io/library/python:3.12-slim"

RUN useradd --system --uid 10001 --home-dir /var/lib/vera-worker --shell /usr/sbin/nologin vera \
    && install -d -o vera -g vera -m 0700 /var/lib/vera-worker \
    && install -d /etc/vera-worker /opt/tasks
COPY --from=build /opt/vera-worker /opt/vera-worker
COPY config/worker.toml /etc/vera-worker/worker.toml
# Docker kills 10 s after `docker stop`: a drain has to be shorter than that.
RUN sed -i 's/^drain_timeout = .*/drain_timeout = 6/' /etc/vera-worker/worker.toml

# Task modules of your own go to /opt/tasks; TASK_MODULES names them.
ENV PATH=/opt/vera-worker/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONPATH=/opt/tasks \
    WORKER_HOST=0.0.0.0 \
    STORE_URL=sqlite:////var/lib/vera-worker/tasks.db

USER 10001:10001
# The store and the token: the only place that is written to, so the root may be read-only.
WORKDIR /var/lib/vera-worker
VOLUME /var/lib/vera-worker
EXPOSE 5000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=10s --retries=3 \
    CMD vera-worker health --url "${VERA_URL:-http://127.0.0.1:${WORKER_PORT:-5000}}"
# The worker is process 1 itself: it takes the signals, and buries the orphans of its tasks.
# -P: tasks may write where it runs; no module is taken from there.
ENTRYPOINT ["python", "-P", "-m", "vera_supervisor"]
CMD ["serve", "--config", "/etc/vera-worker/worker.toml"]
