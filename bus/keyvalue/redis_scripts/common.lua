local P, call = KEYS[1], redis.call
local K = P .. ':kv'
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function until_of(key) return tonumber(call('ZSCORE', K .. ':until', key) or math.huge) end
local function tell(kind, key, revision, left, value)
  call('PUBLISH', K .. ':' .. key, kind .. ' ' .. revision .. ' ' .. left .. '\n' .. value)
end
local function remove(kind, key)
  call('HDEL', K .. ':value', key)
  call('HDEL', K .. ':revision', key)
  call('ZREM', K .. ':keys', key)
  call('ZREM', K .. ':until', key)
  tell(kind, key, call('INCR', K .. ':number'), 0, '')
end
local function expire()
  for _, key in ipairs(call('ZRANGEBYSCORE', K .. ':until', '-inf', now, 'LIMIT', 0, 200)) do
    remove('expired', key)
  end
end
