"""The built-in roles, one file each; they reach everything through their context."""
