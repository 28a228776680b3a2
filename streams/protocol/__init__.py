"""The Durable Streams protocol as pure code: headers and bytes in, decisions and bytes out."""
