"""Events that start functions without HTTP: NATS subjects now; streams and schedules on the same engine.

Called by `wiring`. Knows the bus and the dispatcher as a callable.
"""
