"""Attacks by other libraries, or as theirs."""
