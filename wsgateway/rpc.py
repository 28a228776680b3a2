"""JSON-RPC 2.0 frames."""
