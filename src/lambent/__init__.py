"""Lambent: a self-hosted AWS Lambda on NATS. ARCHITECTURE.md tells the rooms and the way imports go."""

__version__ = "0.1.0"
