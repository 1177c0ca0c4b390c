-- key
local key = ARGV[1]
local revision = call('HGET', K .. ':revision', key)
if not revision or until_of(key) <= now then return false end
return {revision, call('HGET', K .. ':value', key)}
