"""What kind of failure it is: dead letters and incidents of one kind have the same fingerprint. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

# The fingerprint becomes part of a ServiceNow query, in which "^" and "," have a meaning.
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9_.-]")
_NAME_LENGTH = 28
SEPARATOR = ":"


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """``reason``: a registry code. ``entity`` and ``operation``: what failed; "-" if it is not about a single one."""

    reason: str
    entity: str
    operation: str

    def __str__(self) -> str:
        """As commands, API and tickets write it.

        >>> str(Fingerprint("CMT-TIMEOUT", "pet", "UPDATE"))
        'CMT-TIMEOUT:pet:UPDATE'
        """
        return SEPARATOR.join(map(plain, (self.reason, self.entity, self.operation)))


def plain(name: str) -> str:
    """A name as a part of a fingerprint: short, and without characters that mean something elsewhere.

    >>> plain("a^b,c"), plain(""), len(plain("x" * 99))
    ('a_b_c', '-', 28)
    """
    return _NOT_PLAIN.sub("_", name[:_NAME_LENGTH]) or "-"
