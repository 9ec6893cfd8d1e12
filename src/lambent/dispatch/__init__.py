"""One call from admission to report: resolve, admit, lease an environment, run it under its deadline, write the log lines.

Called by every door (`services.lambda_`, `gateway`, `sources`). Knows the pool; knows no wire form.
"""
