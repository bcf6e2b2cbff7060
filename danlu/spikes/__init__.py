"""Why a loss spiked: a run's updates made again from a checkpoint, checks of the causes, changes tried."""
