-- groups; for each one -1 or a list of (lane, waiting, delayed, leased)
local all = {}
for g, group in ipairs(ARGV) do
  all[g] = -1
  if call('HEXISTS', P .. ':groups', group) == 1 then
    local found, base = {}, key_of(group) .. ':'
    for _, lane in ipairs(call('SMEMBERS', base .. 'lines')) do
      local key = base .. lane
      local ripe, due = call('ZCOUNT', key .. ':due', '-inf', now), call('ZCARD', key .. ':due')
      local wait, leased = call('LLEN', key .. ':wait'), call('ZCARD', key .. ':lease')
      found[#found + 1] = {lane, wait + ripe, due - ripe, leased}
    end
    all[g] = found
  end
end
return all
