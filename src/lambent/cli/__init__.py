"""The command line: thin commands over the AWS API, the platform's own API, and `wiring` for `up`."""
