"""The wire protocols of AWS: requests into parameters, outputs and errors into responses.

One module per way of writing values (`json_values`, `query_values`, `xml_values`, `scalars`) and one per protocol on top of
them. Shapes are compiled into closures once; nothing walks a model while a request waits. Knows no service and no I/O.
"""
