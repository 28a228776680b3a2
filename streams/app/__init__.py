"""The protocol over HTTP: an ASGI app around a store."""
