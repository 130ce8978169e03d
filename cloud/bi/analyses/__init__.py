"""Analyses: what a table of figures means. Pure functions from tables to findings, a chart and a sentence."""
