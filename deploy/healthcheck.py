"""Container health check: exits 0 when this container's worker answers /healthz. Standard library only, to be quick."""

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
    """Where the worker of this environment (``WEB_*``) listens."""
    host = environment.get("WEB_HOST") or "127.0.0.1"
    host = _ANY_ADDRESS.get(host, host)
    scheme = "https" if environment.get("WEB_TLS_CERT") else "http"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{environment.get('WEB_PORT') or '6066'}/healthz"


def main() -> int:
    """0 = healthy, 1 = not; the reason goes to stderr, where the container engine shows it."""
    url = health_url(os.environ)
    # The worker asks itself: its certificate names the service, not this address, and there is nobody in between.
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    # Through no proxy, whatever HTTP_PROXY says.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    try:
        with opener.open(url, timeout=TIMEOUT_SECONDS):
            return 0
    except (urllib.error.URLError, OSError) as error:
        sys.stderr.write(f"{url}: {error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
