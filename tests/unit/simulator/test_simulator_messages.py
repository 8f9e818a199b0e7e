"""Requests read, and text that survives being written and read again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from app.simulator.filters import ComplexFilter, SimpleFilter
from app.simulator.row_errors import RowColumnError, RowError
from app.simulator.soap_reader import NotSoapError, NotXmlError, WriteObject, read_request
from app.simulator.soap_writer import SoapFault, element, envelope, fault_payload, new_id, write_payload

XSI = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'


def enveloped(payload: str, header: str = "") -> bytes:
    inside = f"<s:Header>{header}</s:Header><s:Body>{payload}</s:Body>"
    return f'<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" {XSI}>{inside}</s:Envelope>'.encode()


def test_an_update_is_read_with_keys_properties_nulls_and_save_action() -> None:
    request = read_request(
        enveloped(
            '<UpdateRequest xmlns="p"><Options><SaveOptions><SaveOption><PropertyName>*</PropertyName>'
            "<SaveAction>UpdateAdd</SaveAction></SaveOption></SaveOptions></Options>"
            '<Objects xsi:type="x:DataExtensionObject"><PartnerKey xsi:nil="true"/><CustomerKey> KEY </CustomerKey>'
            "<Properties><Property><Name>A</Name><Value> kept </Value></Property>"
            '<Property><Name>B</Name><Value xsi:nil="true"/></Property><Property><Name>C</Name></Property>'
            "<Property><Value><![CDATA[<d>]]></Value><Name>D</Name></Property>"
            "<Property><Name>E</Name><Value/></Property></Properties>"
            "<Keys><Key><Name>K</Name><Value>1</Value></Key></Keys></Objects>"
            "<Objects><Name>by name</Name></Objects></UpdateRequest>"
        )
    )
    assert (request.payload, request.save_action, request.soap12) == ("UpdateRequest", "UpdateAdd", False)
    assert request.objects == (
        WriteObject(
            "DataExtensionObject", "KEY", {"K": "1"}, {"A": " kept ", "B": None, "C": None, "D": "<d>", "E": ""}
        ),
        WriteObject(None, "by name", {}, {}),
    )


def test_a_retrieve_is_read_with_a_nested_filter() -> None:
    request = read_request(
        enveloped(
            '<RetrieveRequestMsg xmlns="p"><RetrieveRequest><ObjectType>T</ObjectType><Properties>A</Properties>'
            '<Properties>B</Properties><Filter xsi:type="ComplexFilterPart">'
            '<LeftOperand xsi:type="SimpleFilterPart"><Property>A</Property><SimpleOperator>between</SimpleOperator>'
            "<DateValue>1</DateValue><DateValue>2</DateValue></LeftOperand><LogicalOperator>OR</LogicalOperator>"
            '<RightOperand xsi:type="SimpleFilterPart"><Property>B</Property><SimpleOperator>isNull</SimpleOperator>'
            "</RightOperand></Filter><Options><BatchSize>7</BatchSize></Options></RetrieveRequest></RetrieveRequestMsg>",
            "<a:Action xmlns:a='w'>Retrieve</a:Action>",
        )
    )
    retrieve = request.retrieve
    assert retrieve is not None
    assert (request.action, retrieve.object_type, retrieve.properties, retrieve.batch_size) == (
        "Retrieve",
        "T",
        ("A", "B"),
        7,
    )
    assert retrieve.condition == ComplexFilter(
        "OR", (SimpleFilter("A", "between", ("1", "2")), SimpleFilter("B", "isNull"))
    )


@pytest.mark.parametrize("body", [b"", b"text", b"<a>", b"<a></b>", b"\xff\xfe\x00"])
def test_what_is_not_xml_is_refused(body: bytes) -> None:
    with pytest.raises(NotXmlError):
        read_request(body)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"<a/>", "Envelope"),
        (b"<Envelope/>", "Body is empty"),
        (b"<Envelope><Body/></Envelope>", "Body is empty"),
        (b"<Envelope><Body><RetrieveRequestMsg/></Body></Envelope>", "no RetrieveRequest"),
        (b"<!DOCTYPE Envelope><Envelope/>", "document type"),
    ],
)
def test_what_is_not_soap_is_refused_with_a_reason(body: bytes, reason: str) -> None:
    with pytest.raises(NotSoapError, match=reason):
        read_request(body)


# All that XML 1.0 can carry: no control characters but tab, line feed and carriage return, no surrogates.
xml_text = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff")
    | st.sampled_from("\t\n\r")
)


@given(xml_text)
def test_any_text_is_written_so_that_it_is_read_as_it_was(text: str) -> None:
    assert (etree.fromstring(element("Value", text)).text or "") == text


@given(xml_text, xml_text)
def test_a_row_result_with_any_text_is_well_formed(value: str, message: str) -> None:
    error = RowError(1, message, value_errors=(RowColumnError(value, 2, message),))
    payload = write_payload(
        "Update", [(WriteObject("DataExtensionObject", value, {value: value}, {value: None}), error)]
    )
    root = etree.fromstring(envelope(payload, "UpdateResponse", value, soap12=False))
    (found,) = root.iter("{*}StatusMessage")
    assert (found.text or "") == message


@pytest.mark.parametrize("soap12", [False, True])
@pytest.mark.parametrize(
    "fault", [SoapFault("Server", "a < b", 2), SoapFault("Client", ""), SoapFault("Security", "x")]
)
def test_faults_are_well_formed(fault: SoapFault, soap12: bool) -> None:
    root = etree.fromstring(envelope(fault_payload(fault, "http://h/?a&b", soap12), "f", None, soap12))
    text = next(root.iter("{*}Text" if soap12 else "faultstring"))
    assert (text.text or "") == fault.text


def test_identifiers_look_like_uuids_and_differ() -> None:
    made = [new_id() for _ in range(1000)]
    assert len(set(made)) == 1000
    assert all([len(part) for part in identifier.split("-")] == [8, 4, 4, 4, 12] for identifier in made)
