# The worker and all other commands of profile-sync. Needs a Kafka broker. Contains neither Java nor the test tools.

# 1. The wheel, built with the tools in the lock file.
FROM python:3.13-slim-bookworm AS wheel
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /source
COPY requirements-dev.lock ./
RUN pip install --require-hashes --only-binary :all: -r requirements-dev.lock
COPY pyproject.toml README.md LICENSE ./
COPY schemas schemas
COPY app app
RUN pip wheel --no-build-isolation --no-deps --wheel-dir /wheel .

# 2. A virtual environment with exactly the locked dependencies and the wheel.
FROM python:3.13-slim-bookworm AS environment
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /source
RUN python -m venv /opt/profile-sync
COPY requirements.lock ./
RUN /opt/profile-sync/bin/pip install --require-hashes --only-binary :all: -r requirements.lock
COPY --from=wheel /wheel /wheel
RUN /opt/profile-sync/bin/pip install --no-index --no-deps /wheel/*.whl \
    && /opt/profile-sync/bin/pip check

# 3. The final image.
FROM python:3.13-slim-bookworm
LABEL org.opencontainers.image.title="profile-sync" \
      org.opencontainers.image.description="Keeps Salesforce Marketing Cloud in sync with a consumer database" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN groupadd --system --gid 10001 profile-sync \
    && useradd --system --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/profile-sync \
       --shell /usr/sbin/nologin profile-sync \
    && install --directory --owner=10001 --group=10001 --mode=0700 /var/lib/profile-sync
COPY --from=environment /opt/profile-sync /opt/profile-sync
COPY deploy/healthcheck.py /opt/profile-sync/healthcheck.py
# The worker listens on every address of the container, so that a published port reaches it. The API needs a token.
ENV PATH=/opt/profile-sync/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONFAULTHANDLER=1 \
    DATA_DIR=/var/lib/profile-sync \
    WEB_HOST=0.0.0.0
USER 10001:10001
WORKDIR /var/lib/profile-sync
EXPOSE 6066
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "/opt/profile-sync/healthcheck.py"]
ENTRYPOINT ["profile-sync"]
CMD ["worker"]
