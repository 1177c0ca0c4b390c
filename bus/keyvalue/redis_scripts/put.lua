-- key, value, milliseconds to live or '', expected revision, 'absent' or ''
local key, value, ttl, expect = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
if until_of(key) <= now then remove('expired', key) end
expire()
local found = call('HGET', K .. ':revision', key)
if expect ~= '' and expect ~= (found or 'absent') then return {-1, found or ''} end
local revision = call('INCR', K .. ':number')
call('HSET', K .. ':value', key, value)
call('HSET', K .. ':revision', key, revision)
if not found then call('ZADD', K .. ':keys', 0, key) end
if ttl == '' then
  call('ZREM', K .. ':until', key)
else
  call('ZADD', K .. ':until', now + ttl, key)
end
tell('put', key, revision, ttl, value)
return revision
