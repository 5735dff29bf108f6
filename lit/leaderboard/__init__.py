"""The leaderboard: rows from recorded runs, charts, and the page."""
