"""The session manager of one robot: when to dial, renew, hold back, give up and come back. Pure: time is passed in."""
