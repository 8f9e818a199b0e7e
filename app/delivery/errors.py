"""The registry of everything that can go wrong with an event: stable codes, their class, and what to do.

A code is part of the public surface: it stands in headers, KPI rows, tickets and on the dead-letter page. The list for
operators, ``docs/errors.md``, is generated from here. Each family of codes has a file of its own.
"""

# In the order of the document.
# isort: off
from app.delivery.error_registry import REGISTRY as REGISTRY
from app.delivery.error_registry import ErrorClass as ErrorClass
from app.delivery.error_registry import ErrorEntry as ErrorEntry
from app.delivery.error_registry import lookup as lookup
from app.delivery.event_errors import *  # noqa: F403
from app.delivery.cmt_errors import *  # noqa: F403
from app.delivery.sync_errors import *  # noqa: F403
