"""Probes: what is measured, one file each; a newcomer's file in this folder is found by itself."""
