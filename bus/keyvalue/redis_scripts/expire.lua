-- no arguments: what has come to its end goes, and is told
expire()
return 0
