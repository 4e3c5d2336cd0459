# One served revision: the Open Inference Protocol v2 over onnxruntime, and the fetch container before it.
# Any Debian 12 base with Python 3.11 and the venv module does; without an engine that pulls, tests/images makes one.
ARG BASE_IMAGE=python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS dependencies
COPY requirements/server.txt /tmp/requirements.txt
# pip.conf and ca.crt are optional build secrets: the host's package index and certificate authority, never in a layer.
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf --mount=type=secret,id=ca.crt,target=/etc/pip-ca.crt \
    --mount=type=cache,target=/root/.cache/pip \
    python3 -m venv /opt/venv \
    && /opt/venv/bin/pip install --disable-pip-version-check --require-hashes --only-binary :all: -r /tmp/requirements.txt \
    && /opt/venv/bin/pip uninstall --yes --quiet pip setuptools \
    && find /opt/venv -depth -type d -name tests -path '*/site-packages/*' -exec rm -rf {} +

# Code is a layer of its own: changing it reinstalls nothing. Of millrace only the contract is here.
FROM ${BASE_IMAGE} AS code
COPY operator/millrace/__init__.py /app/millrace/__init__.py
COPY operator/millrace/contract /app/millrace/contract
COPY serving-image/millrace_runtime /app/millrace_runtime
RUN rm -rf /app/millrace_runtime/training /app/millrace_runtime/snapshot /app/millrace_runtime/removal \
    && python3 -m compileall -q --invalidation-mode unchecked-hash /app

FROM dependencies
COPY --from=code /app /app
# onnxruntime reports telemetry by default; nothing here phones home.
ENV ORT_DISABLE_TELEMETRY=1
# The user has no entry in /etc/passwd, so libraries that ask for its name find it here.
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin PYTHONPATH=/app PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp USER=millrace LOGNAME=millrace
USER 65532:65532
WORKDIR /tmp
EXPOSE 8080
ENTRYPOINT ["python", "-m", "millrace_runtime.serving"]
CMD ["serve"]
