"""The Lambda API: one operation per function of this package, one file per noun.

Called by the wire (`aws`) through `LambdaService.service()`. Knows the function store, and what runs functions as callables;
knows no pool, no sandbox, no bus. Only `faults.py` turns domain errors into AWS's codes.
"""
