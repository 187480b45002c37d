"""What any cloud voice needs: when to dial, costs, transcripts."""
