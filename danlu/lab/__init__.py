"""The lab: ideas tried in pairs, searches, ladders, claims, what was decided; and the queue that runs them."""
