"""The STS API: who is calling, and temporary credentials for a stored role.

Called by the wire through `StsService.service()`. Knows roles as a callable, never the IAM service.
"""
