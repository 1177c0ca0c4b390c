-- no arguments: tells everybody that all before this moment has been told; answers the moment
expire()
call('PUBLISH', P .. ':beat', now)
return now
