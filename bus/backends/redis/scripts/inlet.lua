-- group of readers, reader, milliseconds after which what it holds is another's, most
local inlet = P .. ':in'
redis.pcall('XGROUP', 'CREATE', inlet, ARGV[1], '0', 'MKSTREAM')
local left = call('XAUTOCLAIM', inlet, ARGV[1], ARGV[2], ARGV[3], '0-0', 'COUNT', ARGV[4])
return {left[2], call('XLEN', inlet .. ':parked'), call('GET', P .. ':version') or ''}
