"""HTTP requests on the serving port become events, answers become responses.

Called by `wiring` as the handler of the HTTP port. Knows routes and payload formats, and the dispatcher as a callable.
"""
