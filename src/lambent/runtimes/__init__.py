"""What runs a function inside a sandbox: the table of runtimes, the guests, frames and the Runtime API.

Called by `pool`. Knows sandboxes and functions' start values; does not know who calls, nor how many environments there are.
"""
