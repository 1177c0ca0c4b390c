"""One reader per kind of file: text in, passages with their exact places out."""

from workers.documents.readers.reading import read

__all__ = ["read"]
