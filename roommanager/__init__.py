"""Accepts wishes over REST, places rooms, serves playlists and keys."""
