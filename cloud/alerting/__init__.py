"""Figures that are watched, and whom alerts are told to.

`states` is the state machine, pure and a table; `watching` looks at the figures and takes one step per watch; `rows`
keeps watches; `listing` keeps what people say about alerts; `digest` decides who is told what and when, pure; `telling`
queues it as letters in one transaction with the marks that it was told; `escalation` tells others what nobody acknowledges.
"""
