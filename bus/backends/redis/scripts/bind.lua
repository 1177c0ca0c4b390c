-- group, slices, patterns joined by blanks
local before = call('HGET', P .. ':groups', ARGV[1])
local width = tonumber(ARGV[2])
if before then width = math.max(width, tonumber(string.match(before, '^%d+'))) end
local value = width .. ' ' .. ARGV[2] .. ' ' .. ARGV[3]
if before == value then return 0 end
call('HSET', P .. ':groups', ARGV[1], value)
raise_version()
return 1
