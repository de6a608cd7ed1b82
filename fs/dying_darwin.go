package fs

// dying cannot be told on macOS: waits end by their deadlines there.
func dying(uint32) bool { return false }
