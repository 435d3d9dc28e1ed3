"""Who may come in, and where to: the model, keys and permissions, the plan of a change, the file it is kept in."""
