"""Diffusion networks and what loads them."""
