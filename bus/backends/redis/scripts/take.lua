-- version, group, lease, limit, bytes, then for each turn: most, N, N x lane
if (call('GET', P .. ':version') or '') ~= ARGV[1] then return -1 end
local base, lease = key_of(ARGV[2]) .. ':', tonumber(ARGV[3])
local held_until = string.format('%.0f', now + lease)
local left, room, found, waiting = tonumber(ARGV[4]), tonumber(ARGV[5]), {}, {}
local function count(lane)
  waiting[lane] = waiting[lane] or call('LLEN', base .. lane .. ':wait')
  return waiting[lane]
end
local function first_of(key)
  local score = call('ZRANGE', key, 0, 0, 'WITHSCORES')[2]
  return score and tonumber(score) or math.huge
end
local function ripe(key)
  local tokens = call('ZRANGEBYSCORE', key, '-inf', now, 'LIMIT', 0, 500)
  many('ZREM', key, tokens)
  return tokens
end
for _, lane in ipairs(call('ZRANGEBYSCORE', base .. 'next', '-inf', now)) do
  local key = base .. lane
  many('RPUSH', key .. ':wait', ripe(key .. ':due'))
  local lost, tokens = ripe(key .. ':lease'), {}
  for k = #lost, 1, -1 do -- the oldest comes first again, with one hand-over more
    tokens[#tokens + 1] = string.gsub(lost[k], '%d+$', function(n) return n + 1 end)
  end
  many('LPUSH', key .. ':wait', tokens)
  local first = math.min(first_of(key .. ':due'), first_of(key .. ':lease'))
  if first == math.huge then
    call('ZREM', base .. 'next', lane)
  else
    call('ZADD', base .. 'next', first, lane)
  end
  count(lane)
end
local function share(counts, most) -- max-min fair
  local given = {}
  for k = 1, #counts do given[k] = 0 end
  while most > 0 do
    local hungry = {}
    for k, c in ipairs(counts) do
      if c > given[k] then hungry[#hungry + 1] = k end
    end
    if #hungry == 0 then break end
    local part = math.floor(most / #hungry)
    for n, k in ipairs(hungry) do
      local wanted = part > 0 and part or (n <= most and 1 or 0)
      local got = math.min(wanted, counts[k] - given[k])
      given[k] = given[k] + got
      if part > 0 then most = most - got end
    end
    if part == 0 then break end
  end
  return given
end
local function hand_over(lane, part)
  local key, began = base .. lane, false
  while part > 0 and room > 0 do
    local tokens = call('LPOP', key .. ':wait', math.min(part, 100))
    if not tokens or #tokens == 0 then break end
    local numbers, leases, held, payloads = {}, {}, {}, {}
    for k, token in ipairs(tokens) do numbers[k] = string.match(token, '%d+') end
    for k, payload in ipairs(call('HMGET', key .. ':body', unpack(numbers))) do
      if payload then
        leases[#leases + 1], leases[#leases + 2] = held_until, tokens[k]
        held[#held + 1], payloads[#payloads + 1] = tokens[k], payload
        room = room - #payload
      end
    end
    many('ZADD', key .. ':lease', leases)
    found[#found + 1] = {lane, held, payloads}
    part, left, began = part - #tokens, left - #tokens, true
    waiting[lane] = waiting[lane] - #tokens
  end
  if began then call('ZADD', base .. 'next', 'LT', held_until, lane) end
end
local i = 6
while ARGV[i] do
  local most, lanes, counts = tonumber(ARGV[i]), tonumber(ARGV[i + 1]), {}
  for k = 1, lanes do counts[k] = count(ARGV[i + 1 + k]) end
  for k, part in ipairs(share(counts, math.min(most, left))) do
    hand_over(ARGV[i + 1 + k], part)
  end
  i = i + 2 + lanes
end
local silent = {}
for lane, left_behind in pairs(waiting) do
  if left_behind > 0 then
    ring(base .. lane)
  else
    silent[#silent + 1] = base .. lane .. ':bell'
  end
end
if #silent > 0 then call('DEL', unpack(silent)) end
return {math.max(0, math.min(lease, first_of(base .. 'next') - now)), found, now}
