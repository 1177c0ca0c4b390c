-- key, expected revision or ''
local key, expect = ARGV[1], ARGV[2]
if until_of(key) <= now then remove('expired', key) end
local found = call('HGET', K .. ':revision', key)
if not found or (expect ~= '' and expect ~= found) then return 0 end
remove('deleted', key)
return 1
