"""What a fleet takes and gives, as an AsyncAPI 3 document and as a page."""
