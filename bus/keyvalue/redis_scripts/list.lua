-- least and greatest key as of ZRANGEBYLEX, how many, bytes; answers (key, revision, left, value)
local low, count, room, found = ARGV[1], tonumber(ARGV[3]), tonumber(ARGV[4]), {}
while #found < count and room > 0 do
  local keys = call('ZRANGEBYLEX', K .. ':keys', low, ARGV[2], 'LIMIT', 0, count - #found)
  if #keys == 0 then break end
  for _, key in ipairs(keys) do
    local ends = until_of(key)
    if ends > now and room > 0 then
      local value = call('HGET', K .. ':value', key)
      local left = ends == math.huge and '' or ends - now
      found[#found + 1] = {key, call('HGET', K .. ':revision', key), left, value}
      room = room - #value - #key
    end
  end
  low = '(' .. keys[#keys]
end
return found
