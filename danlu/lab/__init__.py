"""The lab: ideas tried in pairs, searches, ladders, claims, decisions; and the queue that runs them."""
