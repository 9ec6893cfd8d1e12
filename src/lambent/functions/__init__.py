"""What a function is: its versions, its code package, its record, and the store of them.

Called by `pool`, `dispatch`, `gateway`, `sources` and `services`. Knows state and blobs; knows nothing of AWS's wire form.
"""
