-- group, '1' to drop what waits; answers how many do if that is refused, else 0
if call('HEXISTS', P .. ':groups', ARGV[1]) == 0 then return 0 end
local base, waiting = key_of(ARGV[1]) .. ':', 0
local keys = {base .. 'lines', base .. 'next'}
for _, lane in ipairs(call('SMEMBERS', base .. 'lines')) do
  local key = base .. lane
  waiting = waiting + call('LLEN', key .. ':wait') + call('ZCARD', key .. ':due')
  waiting = waiting + call('ZCARD', key .. ':lease')
  for _, kind in ipairs({':body', ':wait', ':due', ':lease', ':bell'}) do
    keys[#keys + 1] = key .. kind
  end
end
if waiting > 0 and ARGV[2] ~= '1' then return waiting end
call('UNLINK', unpack(keys))
call('HDEL', P .. ':groups', ARGV[1])
call('HDEL', P .. ':used', ARGV[1])
raise_version()
return 0
