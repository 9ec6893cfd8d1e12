"""What happened: function logs (groups, streams, events over JetStream) and the platform's own log.

Called by `pool`, `dispatch` and `services.logs`. Knows nothing of how functions run.
"""
