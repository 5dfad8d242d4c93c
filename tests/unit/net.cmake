# Real sockets of loopback, both ends in one thread, and a protocol that echoes.
sluice_test(test_net USES net)
