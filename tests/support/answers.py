"""Answers of Marketing Cloud for tests, written after its reference."""

from __future__ import annotations

from xml.sax.saxutils import escape

PARTNER = "http://exacttarget.com/wsdl/partnerAPI"
SECURITY = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"


def envelope(payload: str) -> bytes:
    return (
        '<?xml version="1.0" encoding="utf-8"?><soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/"'
        ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:xsd="http://www.w3.org/2001/XMLSchema">'
        f"<soap:Header/><soap:Body>{payload}</soap:Body></soap:Envelope>"
    ).encode()


def fault(code: str, text: str, api_code: int | None = None, message: str = "") -> bytes:
    prefix = "q0" if code == "Security" else "soap"
    detail = (
        ""
        if api_code is None
        else f'<detail><apifault xmlns="urn:fault.partner.exacttarget.com"><Code>{api_code}</Code>'
        f"<Message>{escape(message)}</Message></apifault></detail>"
    )
    return envelope(
        f'<soap:Fault><faultcode xmlns:q0="{SECURITY}">{prefix}:{code}</faultcode>'
        f"<faultstring>{escape(text)}</faultstring>{detail}</soap:Fault>"
    )


def written(results: str, overall: str = "OK", operation: str = "Update") -> bytes:
    return envelope(
        f'<{operation}Response xmlns="{PARTNER}">{results}<RequestID>7c7d</RequestID>'
        f"<OverallStatus>{overall}</OverallStatus></{operation}Response>"
    )


def good(ordinal: int = 0) -> str:
    return (
        f"<Results><StatusCode>OK</StatusCode><StatusMessage>Updated DataExtensionObject</StatusMessage>"
        f'<OrdinalID>{ordinal}</OrdinalID><Object xsi:type="DataExtensionObject"><PartnerKey xsi:nil="true"/>'
        f'<ObjectID xsi:nil="true"/><CustomerKey>CMT_Contact</CustomerKey></Object></Results>'
    )


def bad(
    code: int, message: str, *, ordinal: int = 0, column: tuple[str, int, str] | None = None, key: bool = False
) -> str:
    errors = ""
    if column is not None:
        name, column_code, text = column
        kind = "Key" if key else "Value"
        errors = (
            f"<{kind}Errors><{kind}Error><Name>{name}</Name><ErrorCode>{column_code}</ErrorCode>"
            f"<ErrorMessage>{escape(text)}</ErrorMessage></{kind}Error></{kind}Errors>"
        )
    return (
        f'<Results xsi:type="DataExtensionUpdateResult"><StatusCode>Error</StatusCode>'
        f"<StatusMessage>{escape(message)}</StatusMessage><OrdinalID>{ordinal}</OrdinalID><ErrorCode>{code}</ErrorCode>"
        f"<ErrorMessage>{escape(message)}</ErrorMessage>{errors}</Results>"
    )


def retrieved(rows: list[dict[str, str | None]], overall: str = "OK", request_id: str = "f06c") -> bytes:
    results = "".join(
        '<Results xsi:type="DataExtensionObject"><PartnerKey xsi:nil="true"/><ObjectID xsi:nil="true"/>'
        "<Type>DataExtensionObject</Type><Properties>"
        + "".join(
            f"<Property><Name>{name}</Name>"
            + ('<Value xsi:nil="true"/>' if value is None else f"<Value>{escape(value)}</Value>")
            + "</Property>"
            for name, value in row.items()
        )
        + "</Properties></Results>"
        for row in rows
    )
    return envelope(
        f'<RetrieveResponseMsg xmlns="{PARTNER}"><OverallStatus>{escape(overall)}</OverallStatus>'
        f"<RequestID>{request_id}</RequestID>{results}</RetrieveResponseMsg>"
    )
