package integration

import "testing"

// sealedPromises are what envelope mode promises beyond what all modes do.
var sealedPromises = []struct {
	name string
	run  func(*testing.T)
}{
	{"Nothing readable leaves", nothingReadableLeaves},
	{"One data key serves many files", callsOfManyFiles},
	{"A revoked key bites", keyDisabled},
	{"What KMS refuses has an errno of its own", errorsOfKMS},
	{"An outage of KMS is survived", outageOfKMS},
	{"Planted objects are refused", plantedObjects},
	{"Any of several keys opens", severalKeys},
	{"Objects are bound to their bucket", acceptContextBucket},
	{"A host may write and not read", writeOnlyHost},
	{"A grant is enough", grants},
	{"Objects may be bound to their names", objectScope},
	{"Objects that are not sealed are left alone", foreignObjects},
	{"Keys can be changed", rekey},
	{"Objects open without a mount", decryptWithoutMount},
}

func TestEnvelope(t *testing.T) {
	for _, p := range sealedPromises {
		t.Run(p.name, p.run)
	}
}
