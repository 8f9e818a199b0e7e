"""The fields of the fault `answer`: any HTTP answer, any SOAP fault, any OverallStatus, any row error.

An answer has one of four shapes, chosen by the fields that are given: rows (`rowCode`, `rowMessage`, `rowStatus`), a
SOAP fault (`faultCode`, `faultMessage`), an `overallStatus` without results, or else a raw answer (`status`, `body`).
"""

from __future__ import annotations

import base64
import re
from enum import Enum, auto
from typing import Literal

from pydantic import BaseModel, Field, field_validator

# RFC 9110 section 5.6.2 (names) and 5.5 (values).
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")

FaultSide = Literal["Client", "Server", "Security"]


class Shape(Enum):
    """Which part of an answer differs from a normal one."""

    ROWS = auto()
    FAULT = auto()
    OVERALL = auto()
    RAW = auto()


class AnswerFields(BaseModel):
    """The fields that only fault rules of the kind `answer` have; `status` and `headers` fit every shape."""

    status: int | None = Field(None, ge=200, le=599)
    headers: dict[str, str] | None = None
    body: str | None = None
    body_base64: str | None = Field(None, alias="bodyBase64")
    overall_status: str | None = Field(None, alias="overallStatus")
    fault_code: int | FaultSide | None = Field(None, alias="faultCode")
    fault_message: str | None = Field(None, alias="faultMessage")
    row_code: int | None = Field(None, alias="rowCode")
    row_message: str | None = Field(None, alias="rowMessage")
    row_status: Literal["OK", "Error"] | None = Field(None, alias="rowStatus")

    @field_validator("headers")
    @classmethod
    def _can_be_sent(cls, headers: dict[str, str] | None) -> dict[str, str] | None:
        for name, value in (headers or {}).items():
            if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
                raise ValueError(f"{name!r} cannot be sent as a header")
        return headers

    @field_validator("body_base64")
    @classmethod
    def _is_base64(cls, text: str | None) -> str | None:
        if text is not None:
            try:
                base64.b64decode(text, validate=True)
            except ValueError as error:
                raise ValueError(f"not base64: {error}") from error
        return text

    def given(self) -> set[str]:
        """Names of the answer's fields that are set, as JSON spells them."""
        return {
            field.alias or name
            for name, field in AnswerFields.model_fields.items()
            if getattr(self, name, None) is not None
        }

    def contradiction(self) -> str | None:
        """Why the fields contradict each other; None: they do not."""
        raw = self.given() & {"body", "bodyBase64"}
        soap = self.given() - {"status", "headers", "body", "bodyBase64"}
        if len(raw) > 1 or (raw and soap):
            return f"{', '.join(sorted(raw | soap))} cannot stand together"
        rows = {name for name in soap if name.startswith("row")}
        if rows and self.given() & {"status", "headers", "faultCode", "faultMessage"}:
            return "a row error is part of an otherwise good answer, without status, headers and faultCode"
        if self.overall_status is not None and self.given() & {"faultCode", "faultMessage"}:
            return "overallStatus and a SOAP fault cannot stand together"
        return None

    @property
    def shape(self) -> Shape:
        if self.row_code is not None or self.row_message is not None or self.row_status is not None:
            return Shape.ROWS
        if self.fault_code is not None or self.fault_message is not None:
            return Shape.FAULT
        return Shape.RAW if self.overall_status is None else Shape.OVERALL

    def body_bytes(self) -> bytes:
        """The raw body; empty if none is given."""
        if self.body_base64 is not None:
            return base64.b64decode(self.body_base64)
        return (self.body or "").encode("utf-8", "surrogatepass")
