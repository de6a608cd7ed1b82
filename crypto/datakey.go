package crypto

// DataKey is a data key in locked memory outside of the collected heap. It is
// counted: who acquired it releases it, and the last one wipes it.
type DataKey struct{ group string }

// Acquire takes a reference; false says that the key is wiped already.
func (d *DataKey) Acquire() bool { return false }

// Release gives a reference back. The last one wipes the key.
func (d *DataKey) Release() {}

// Group returns the ARN of the KMS key that the data key is under.
func (d *DataKey) Group() string { return d.group }
