"""Durable streams: an append-only HTTP stream server, of use alone (docs/streams.md)."""
