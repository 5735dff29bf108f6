"""Lightning callbacks: metrics, records, pictures and banks of a run."""
