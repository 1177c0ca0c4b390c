"""The bus database: the key-value store on it, what is parked there, and how it is opened."""
