"""NATS: the embedded server, connections to its two accounts, every subject name, the streams.

Called by `state`, `observe`, `dispatch` and `sources`. Knows nothing of what travels.
"""
