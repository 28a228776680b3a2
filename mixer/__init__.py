"""One per media node: makes FFmpeg processes match its assignments."""
