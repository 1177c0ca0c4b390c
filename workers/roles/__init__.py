"""The built-in roles, one file each; they reach everything through their context.

Every worker process reads these files to find its roles, so what is large is imported by the
handler that uses it: a process of another role should not carry the readers of documents.
"""
