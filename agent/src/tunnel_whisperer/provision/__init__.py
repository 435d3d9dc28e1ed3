"""What the engine makes on disk: the relay's authority, a tenant's identity, its users, a client's contexts.

Each part plans its changes in a transaction and returns what its caller is told; whoever opened the transaction commits
it, or does not (check mode). The Ansible modules and the command line are doors to these parts.
"""
