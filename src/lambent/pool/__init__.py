"""Environments by function version: which one a call gets, which are made, kept and discarded.

`plan.py` decides without I/O, `pool.py` carries it out, `standby.py` keeps sandboxes ready. Called by `dispatch`.
"""
