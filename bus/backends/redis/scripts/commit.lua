-- version or '-', bytes to find room for (0: do not look), share of the limit, limit by default,
-- '1' to drop the receipts, R, R x (line, N, bytes of their payloads), for each of these N x token,
-- L, L x (lines joined by blanks, M), for each of these M x (key, payload), then
-- (line, due, key, payload); answers which receipts are not ours, counted from 1
-- numbers of messages are made text once, by %d: Redis would print each as a float
if ARGV[1] ~= '-' and (call('GET', P .. ':version') or '') ~= ARGV[1] then return -1 end
local size = tonumber(ARGV[2])
if size > 0 then
  local limit, used = tonumber(call('GET', P .. ':limit') or ARGV[4]), 0
  for _, bytes in ipairs(call('HVALS', P .. ':used')) do used = used + bytes end
  if used + size > limit * ARGV[3] then return {-2, used, limit} end
end
local lost, mine, count, i = {}, 0, 0, 7
local function settle(key, group, held, bytes)
  local tokens, numbers = {}, {}
  for from = i, i + held - 1, 1000 do
    local upto = math.min(from + 999, i + held - 1)
    for k, score in ipairs(call('ZMSCORE', key .. ':lease', unpack(ARGV, from, upto))) do
      if score and tonumber(score) > now then
        local token = ARGV[from + k - 1]
        tokens[#tokens + 1], numbers[#numbers + 1] = token, string.match(token, '%d+')
      else
        lost[#lost + 1] = count + from + k - i
      end
    end
  end
  i, count, mine = i + held, count + held, mine + #tokens
  if ARGV[5] ~= '1' or #tokens == 0 then return end
  if #tokens < held then
    bytes = 0
    for _, number in ipairs(numbers) do bytes = bytes + call('HSTRLEN', key .. ':body', number) end
  end
  many('ZREM', key .. ':lease', tokens)
  many('HDEL', key .. ':body', numbers)
  call('HINCRBY', P .. ':used', group, -bytes)
end
local receipts = tonumber(ARGV[6])
i = i + 3 * receipts
for r = 7, 4 + 3 * receipts, 3 do
  settle(key_of(ARGV[r]), group_of(ARGV[r]), tonumber(ARGV[r + 1]), ARGV[r + 2])
end
if count > 0 and mine == 0 then return lost end
if ARGV[i] == '0' and i == #ARGV then return lost end
local routes, lines = {}, {}
local function into(name)
  local line = lines[name] or {body = {}, wait = {}, due = {}, kept = 0, bytes = 0}
  lines[name] = line
  return line
end
local count_of, most = {}, #ARGV
for n = 1, tonumber(ARGV[i]) do
  local at = {}
  for name in string.gmatch(ARGV[i + 1], '%S+') do at[#at + 1] = into(name) end
  routes[n], count_of[n] = at, tonumber(ARGV[i + 2])
  most = most + #at * count_of[n]
  i = i + 2
end
i = i + 1
local number = call('INCRBY', P .. ':number', most) - most
local seen, format = P .. ':seen:', string.format
local function fresh(key)
  return key == '' or call('SET', seen .. key, '1', 'NX', 'PX', '120000')
end
local function keep(line, payload)
  number = number + 1
  local name, at = format('%d', number), line.kept * 2
  line.body[at + 1], line.body[at + 2] = name, payload
  line.kept, line.bytes = line.kept + 1, line.bytes + #payload
  return name .. '/0'
end
for n, targets in ipairs(routes) do
  for _ = 1, count_of[n] do
    if fresh(ARGV[i]) then
      for _, line in ipairs(targets) do
        line.wait[#line.wait + 1] = keep(line, ARGV[i + 1])
      end
    end
    i = i + 2
  end
end
for j = i, #ARGV, 4 do
  if fresh(ARGV[j + 2]) then
    local line, due = into(ARGV[j]), tonumber(ARGV[j + 1])
    local token = keep(line, ARGV[j + 3])
    line.due[#line.due + 1], line.due[#line.due + 2] = ARGV[j + 1], token
    line.first = math.min(line.first or due, due)
  end
end
for name, line in pairs(lines) do
  if line.kept > 0 then
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
return lost
