"""Fixtures and instruments that several kinds of test share."""
