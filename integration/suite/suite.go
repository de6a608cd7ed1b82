package suite

import (
	"testing"

	"github.com/kmsfs/kmsfs/integration/harness"
)

// Case is one end-to-end test.
type Case struct {
	Name string
	Run  func(t *testing.T, s *harness.Server)
	core bool // one of the few that together send every kind of request
}

// Cases returns all cases in the order of the documentation.
func Cases() []Case {
	return []Case{
		{"round trip of all sizes", roundTrip, true},
		{"remount reads what was written", remount, false},
		{"append and writing on after close", appendAndWriteOn, true},
		{"fsync publishes and writing goes on", fsyncPublishes, false},
		{"truncate and replace", truncateAndReplace, true},
		{"writes past the page cache are seen", directWrites, false},
		{"writing anywhere", writeAnywhere, true},
		{"what has left the machine is read and rewritten", rewriteSent, false},
		{"holes", holes, false},
		{"reads at random offsets", randomReads, true},
		{"directories", directories, false},
		{"a directory of several pages", largeDirectory, false},
		{"rename of files", renameFiles, true},
		{"rename of directories", renameDirectories, true},
		{"implied directories and markers", impliedDirectories, false},
		{"odd names", oddNames, false},
		{"attributes are kept", attributes, true},
		{"extended attributes are kept", extendedAttributes, true},
		{"inode numbers are stable", inodeNumbers, false},
		{"unlink of an open file", unlinkOpen, true},
		{"what is not supported is refused", unsupported, false},
		{"objects of other clients", otherClients, true},
		{"cp -a", copyArchive, true},
		{"tar", tarExtract, false},
		{"rsync", rsyncTwice, false},
		{"restic", resticBackup, false},
		{"borg", borgBackup, false},
		{"many writers at once", manyWriters, true},
	}
}

// Run runs every case, each on a server from fresh.
func Run(t *testing.T, fresh func(t testing.TB) *harness.Server) {
	for _, c := range Cases() {
		t.Run(c.Name, func(t *testing.T) { c.Run(t, fresh(t)) })
	}
}

// RunCore is Run for the core cases, where time is short.
func RunCore(t *testing.T, fresh func(t testing.TB) *harness.Server) {
	for _, c := range Cases() {
		if c.core {
			t.Run(c.Name, func(t *testing.T) { c.Run(t, fresh(t)) })
		}
	}
}
