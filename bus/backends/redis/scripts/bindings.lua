-- no arguments: the version, and all groups with what they are bound to
return {call('GET', P .. ':version') or '', call('HGETALL', P .. ':groups')}
