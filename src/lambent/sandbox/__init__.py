"""A box that a process runs in: namespaces, mounts, cgroups, seccomp, and the small privileged process that makes them.

Called by `runtimes`, built by `wiring`. Knows nothing of Lambda, functions or handlers: it is given an argv, mounts and
limits. `contract.py` is what the rest of the program sees; `spawner.py` and `entry.py` are programs of their own that use
the standard library only.
"""
