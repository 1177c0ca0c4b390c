"""PostgreSQL as the rooms of `knowledge` use it: connections, statements, migrations, locks."""
