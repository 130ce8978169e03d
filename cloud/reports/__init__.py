"""Reports: what a shift or a week came to, as a page, PDF, PNG, spreadsheet and CSV of the same figures.

`figures` reads everything from one snapshot and gives a `Report` as plain data; from then on nothing is computed: pages
are composed of it (`paper`), drawn (`press`) and written as sheets (`sheets`). `keep` holds what was made, under a
version that says when a figure was restated; `schedule` knows what is due, `making` makes it.
"""
