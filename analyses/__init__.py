"""Analyses: what is asked; the studies that they share are below. A newcomer's file in this folder is found by itself."""
