"""One gateway: reads machines, judges on the spot, writes every fact to disk, and sends it when there is a link.

    machine → driver → Readings → LinePipeline (window → judge; states, counters → production) → Store ⇒ uplink ⇒ cloud

Read `flow` first: it is the page on which all of it meets. `pipeline` is what happens to one work unit's readings and
does no I/O; `judging` asks a line's model (`scoring`), `acting` may do something about a verdict; `store` is the one
file on disk and the promise; `uplink` moves what is on disk and forgets only what the cloud has confirmed. `site` loads
the configuration whole or says everything that is wrong with it.
"""
