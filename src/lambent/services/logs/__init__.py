"""The CloudWatch Logs API on the log store.

Called by the wire through `LogsService.service()`. The store (`observe.logs`) knows groups, streams, events and patterns; this
package knows AWS's parameters, tokens of lists, ARNs and codes.
"""
