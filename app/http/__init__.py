"""The HTTP client of the hot path: it sends POSTs over many connections, one at a time on each.

It knows no protocol above HTTP. A SOAP call is one POST, and there are millions of them. With a general client
(aiohttp) a POST cost more processor time than everything else that happens to an event (docs/benchmarks.md). So this
client, built around httptools' parser, does only what such calls need: no streaming, redirects, cookies or pipelining.

``address`` parses URLs, ``dialling`` opens connections, ``connection`` sends a request and reads its answer within
``limits``, ``transport`` keeps connections for reuse.
"""
