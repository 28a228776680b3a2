"""What of an offer and of candidates may reach Janus."""
