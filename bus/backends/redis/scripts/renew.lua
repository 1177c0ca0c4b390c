-- lease, or '' to put them back as they were; then (line, token)
local flags = {}
for i = #ARGV - 1, 2, -2 do -- backwards: what is put back has the order it had
  local key, token = key_of(ARGV[i]), ARGV[i + 1]
  local mine = owned(key, token)
  if mine and ARGV[1] ~= '' then
    call('ZADD', key .. ':lease', now + ARGV[1], token)
  elseif mine then
    call('ZREM', key .. ':lease', token)
    call('LPUSH', key .. ':wait', token)
    ring(key)
  end
  flags[i / 2] = mine and 1 or 0
end
return flags
