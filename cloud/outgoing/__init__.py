"""Letters to people: queued in the transaction of what caused them, sent until a server took or refused them for good.

`queue` writes and reads the letters, `mail` speaks SMTP (the sole import of aiosmtplib), `webhook` signs and posts,
`sending` is the one loop that waits and tries again. A letter is known by its name: it is queued once under it however
often it is asked for, and its Message-ID is made of it, so that a letter sent twice (a crash between the server's yes
and our commit) is the same letter to every mail program that looks.
"""
