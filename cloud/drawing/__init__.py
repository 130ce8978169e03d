"""Pictures are drawn in a process of their own: the renderer keeps the interpreter's lock for as long as it draws."""
