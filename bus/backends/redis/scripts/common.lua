local P, call = KEYS[1], redis.call
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function many(command, key, values) -- unpack takes fewer than 8,000
  for i = 1, #values, 1000 do
    call(command, key, unpack(values, i, math.min(i + 999, #values)))
  end
end
local function group_of(line) return string.match(line, '^[^:]+') end
local function key_of(line) return P .. ':g:' .. line end
local function ring(key)
  if call('EXISTS', key .. ':bell') == 0 then call('LPUSH', key .. ':bell', 1) end
end
local function owned(key, token)
  return tonumber(call('ZSCORE', key .. ':lease', token) or 0) > now
end
local function raise_version()
  local before = tonumber(call('GET', P .. ':version') or 0)
  local micros = time[1] * 1000000 + time[2]
  call('SET', P .. ':version', string.format('%.0f', math.max(before + 1, micros)))
end
