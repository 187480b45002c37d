"""The session manager of one robot: it decides when to dial, renew, hold audio back, give up and resume. Pure."""
