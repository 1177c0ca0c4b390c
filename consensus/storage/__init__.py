"""What a node must never forget, on disk: SQLite, a high-water mark beside it, snapshots as files.

`opening.open_store` opens or begins the folder of a node; `store.Store` is what it then promises.
"""
