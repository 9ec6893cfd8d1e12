"""The IAM API as far as deployment needs it: roles, their trust policies, and inline and attached policies as documents.

Called by the wire through `IamService.service()`; `wiring` gives `Roles` to the services that ask about a role. Documents are
checked for their grammar and stored; what they allow is evaluated in `access`, not here.
"""
