-- group of readers, N x entry
local inlet = P .. ':in'
for k = 2, #ARGV do
  local found = call('XRANGE', inlet, ARGV[k], ARGV[k])
  if #found > 0 then call('XADD', inlet .. ':parked', '*', unpack(found[1][2])) end
  call('XACK', inlet, ARGV[1], ARGV[k])
  call('XDEL', inlet, ARGV[k])
end
return 0
