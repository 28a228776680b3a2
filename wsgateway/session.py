"""What a host's session decides."""
