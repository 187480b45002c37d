"""What any voice from a cloud needs: when to dial, what it costs, what was said."""
