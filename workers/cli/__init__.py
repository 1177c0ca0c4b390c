"""The command `muster`: one small module per group of commands, each imported when it is used."""
