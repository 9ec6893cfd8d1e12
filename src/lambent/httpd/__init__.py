"""Bytes in, bytes out: the HTTP/1.1 server and its messages.

Called by `wiring` (the two ports), `runtimes` (the Runtime API and the endpoint inside a sandbox). Knows nothing of AWS,
functions or routes: a door's handler is passed in.
"""
