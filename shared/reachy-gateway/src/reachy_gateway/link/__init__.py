"""The gateway's end of the link: who may connect, how much each robot may send, and which messages are accepted."""
