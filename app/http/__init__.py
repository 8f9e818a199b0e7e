"""The HTTP client of the hot path: POSTs, one at a time on each of many connections. It knows no protocol above HTTP.

A SOAP call is one POST, and there are millions of them: with a general client (aiohttp) it cost more processor time
than everything else that happens to an event (docs/benchmarks.md). So only what such calls need is here, around
httptools' parser: no streaming, no redirects, no cookies, no pipelining.

``address`` says where, ``dialling`` opens connections, ``connection`` sends and reads within ``limits``, ``transport``
keeps the connections.
"""
