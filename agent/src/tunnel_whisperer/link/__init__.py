"""Links: SSH connections over carriers, and the flows they carry.

`pump` moves the bytes of one flow, `wire` lies between a stream and SSH, `ssh` holds what all our SSH connections agree
on. `server` is the embedded SSH server at which clients' links end; `session` is one connection to it. `link` is what
the two kinds of links share, `reverse` the server's kind, `client` the client's; `pool` owns them. `door` turns local
connections into flows, `bridges` keeps a door for each bridge, `keeper` keeps the users in the relay's Xray.
"""
