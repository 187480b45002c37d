"""The gateway's end of the link: who may dial, what each may send, and what is believed of it."""
