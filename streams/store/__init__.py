"""Streams, forks, producers and lifetimes, kept in a folder (`docs/streams.md`)."""
