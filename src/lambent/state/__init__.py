"""Records that survive: tables (JetStream key-value buckets mirrored in memory) and content-addressed blobs.

Called by every room that keeps something. Reads never touch I/O; writes are compare-and-set and are on disk when they
return. Knows nothing of what the records mean.
"""
