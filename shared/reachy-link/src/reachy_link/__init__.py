"""What both ends of the robot link agree on: messages, wire codec, identity and keys, sockets, clock, playout."""
