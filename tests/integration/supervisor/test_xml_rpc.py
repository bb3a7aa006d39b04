"""The bodies of XML-RPC, compared with the standard library."""

from __future__ import annotations

import xmlrpc.client

import pytest

from fpm_listener.supervisor import xml_rpc


@pytest.mark.parametrize(
    "value",
    [
        "",
        " two  words ",
        "<&>\"' é 人 ]]>",
        0,
        -7,
        True,
        False,
        [],
        {},
        [[], {}, "a", [1, ["b", {"c": {}}]]],
        {"name": "é", "pid": 0, "more": [{"a": "", "b": [True]}, ""], "": {"x": []}},
    ],
)
def test_values_are_read_as_the_standard_library_writes_them(value: object) -> None:
    """Also with white space between the elements, and strings without a type."""
    body = xmlrpc.client.dumps((value,), methodresponse=True)  # type: ignore[arg-type]  # any value

    assert xml_rpc.answer(body.encode()) == value
    assert xml_rpc.answer(body.replace("<string>", "").replace("</string>", "").encode()) == value


def test_a_fault_is_raised() -> None:
    """With its text."""
    body = xmlrpc.client.dumps(xmlrpc.client.Fault(70, "NOT_RUNNING: é"))

    with pytest.raises(xml_rpc.FaultError, match="NOT_RUNNING: é"):
        xml_rpc.answer(body.encode())


def test_requests_are_written_as_the_standard_library_reads_them() -> None:
    """Names of programs are any text."""
    arguments = ("a<b>&amp;:é", -32768, 0, True, False)

    body = xml_rpc.request("supervisor.readLog", arguments)

    assert xmlrpc.client.loads(body.decode()) == (arguments, "supervisor.readLog")


@pytest.mark.parametrize(
    "inner",
    [
        "",
        "<value>a</value><value>b</value>",
        "<value><int></int></value>",
        "<value><int>x</int></value>",
        "<value><boolean>2</boolean></value>",
        "<value><base64>YQ==</base64></value>",
        "<value><struct><member><name>a</name></member></struct></value>",
        "<value><struct><member><value><struct/></value><value>b</value></member></struct></value>",
        "</value>",
        f"<value><int>{'9' * 5000}</int></value>",
    ],
)
def test_damaged_answers(inner: str) -> None:
    """They are errors of one kind."""
    body = f"<methodResponse><params><param>{inner}</param></params></methodResponse>"

    with pytest.raises(ValueError):  # noqa: PT011 - the texts are for nobody
        xml_rpc.answer(body.encode())
