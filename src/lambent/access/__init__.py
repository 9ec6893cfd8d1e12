"""Who is calling: signature version 4, access keys, temporary credentials, identities.

Called by `aws` and `pool`. Does not know operations or services.
"""
