"""Container health check: exits 0 if the container's worker answers /healthz. Standard library only, for speed."""

from __future__ import annotations

import os
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping

TIMEOUT_SECONDS = 4.0
_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not bound


def health_url(environment: Mapping[str, str]) -> str:
    """The health address of the worker with this environment (``WEB_*``)."""
    host = environment.get("WEB_HOST") or "127.0.0.1"
    host = _ANY_ADDRESS.get(host, host)
    scheme = "https" if environment.get("WEB_TLS_CERT") else "http"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{environment.get('WEB_PORT') or '6066'}/healthz"


def main() -> int:
    """Exit code 0 if healthy, else 1. The reason goes to stderr, which the container engine shows."""
    url = health_url(os.environ)
    # The certificate names the service, not this address. Checking is unnecessary, because the call stays in the
    # container.
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    # Without a proxy, even if HTTP_PROXY is set.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    try:
        with opener.open(url, timeout=TIMEOUT_SECONDS):
            return 0
    except (urllib.error.URLError, OSError) as error:
        sys.stderr.write(f"{url}: {error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
