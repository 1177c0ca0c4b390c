"""Whether this process lives and can work, told over HTTP on a loopback port."""
