-- version or '-', bytes to find room for (0: do not look), share of the limit, limit by default,
-- '1' to drop the receipts, R, R x (line, token), L, L x lines joined by blanks,
-- M, M x (number of such lines, key, payload), then (line, due, key, payload)
if ARGV[1] ~= '-' and (call('GET', P .. ':version') or '') ~= ARGV[1] then return -1 end
local size = tonumber(ARGV[2])
if size > 0 then
  local limit, used = tonumber(call('GET', P .. ':limit') or ARGV[4]), 0
  for _, bytes in ipairs(call('HVALS', P .. ':used')) do used = used + bytes end
  if used + size > limit * ARGV[3] then return {-2, used, limit} end
end
local flags, mine, freed = {}, 0, {}
local drop, count, i = ARGV[5] == '1', tonumber(ARGV[6]), 7
for r = 1, count do
  local line, token = ARGV[i], ARGV[i + 1]
  local key = key_of(line)
  flags[r] = owned(key, token) and 1 or 0
  mine = mine + flags[r]
  if drop and flags[r] == 1 then
    local number, group = string.match(token, '%d+'), group_of(line)
    freed[group] = (freed[group] or 0) + call('HSTRLEN', key .. ':body', number)
    call('ZREM', key .. ':lease', token)
    call('HDEL', key .. ':body', number)
  end
  i = i + 2
end
for group, bytes in pairs(freed) do call('HINCRBY', P .. ':used', group, -bytes) end
if count > 0 and mine == 0 then return flags end
local routes, lines = {}, {}
local function into(name)
  local line = lines[name] or {body = {}, wait = {}, due = {}, bytes = 0}
  lines[name] = line
  return line
end
for n = 1, tonumber(ARGV[i]) do
  routes[n] = {}
  for name in string.gmatch(ARGV[i + n], '%S+') do
    local at = routes[n]
    at[#at + 1] = into(name)
  end
end
i = i + 1 + #routes
local direct = tonumber(ARGV[i])
i = i + 1
local rest = i + 3 * direct
local most = #ARGV -- a number for each line of each message, and never one twice
for j = i, rest - 1, 3 do most = most + #routes[tonumber(ARGV[j])] end
local number = call('INCRBY', P .. ':number', most) - most
local function fresh(key)
  return key == '' or call('SET', P .. ':seen:' .. key, 1, 'NX', 'PX', 120000)
end
local function keep(line, payload)
  number = number + 1
  line.body[#line.body + 1], line.body[#line.body + 2] = number, payload
  line.bytes = line.bytes + #payload
  return number .. '/0'
end
for j = i, rest - 1, 3 do
  if fresh(ARGV[j + 1]) then
    for _, line in ipairs(routes[tonumber(ARGV[j])]) do
      line.wait[#line.wait + 1] = keep(line, ARGV[j + 2])
    end
  end
end
for j = rest, #ARGV, 4 do
  if fresh(ARGV[j + 2]) then
    local line, due = into(ARGV[j]), tonumber(ARGV[j + 1])
    local token = keep(line, ARGV[j + 3])
    line.due[#line.due + 1], line.due[#line.due + 2] = ARGV[j + 1], token
    line.first = math.min(line.first or due, due)
  end
end
for name, line in pairs(lines) do
  if #line.body > 0 then
    local key, group = key_of(name), group_of(name)
    local lane, following = string.match(name, ':(.+)$'), key_of(group) .. ':next'
    call('SADD', key_of(group) .. ':lines', lane)
    call('HINCRBY', P .. ':used', group, line.bytes)
    many('HSET', key .. ':body', line.body)
    many('RPUSH', key .. ':wait', line.wait)
    many('ZADD', key .. ':due', line.due)
    local sooner = false
    if line.first then
      local before = call('ZRANGE', following, 0, 0, 'WITHSCORES')[2]
      sooner = not before or line.first < tonumber(before)
      call('ZADD', following, 'LT', line.first, lane)
    end
    if #line.wait > 0 or sooner then ring(key) end
  end
end
return flags
