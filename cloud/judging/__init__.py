"""Judgment seen from the cloud: verdicts judged again, what people and gateways did about them, how far they are trusted.

The judging itself is the line's own code (`edge.judgment`); here are the reading of facts and what is made of them.
"""
