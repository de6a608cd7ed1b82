package suite

import (
	"testing"

	"github.com/kmsfs/kmsfs/integration/harness"
)

// Case is one end-to-end test.
type Case struct {
	Name string
	Run  func(t *testing.T, s *harness.Server)
}

// Cases returns all cases in the order of the documentation.
func Cases() []Case {
	return []Case{
		{"round trip of all sizes", roundTrip},
		{"remount reads what was written", remount},
		{"append and writing on after close", appendAndWriteOn},
		{"fsync publishes and writing goes on", fsyncPublishes},
		{"truncate and replace", truncateAndReplace},
		{"writes past the page cache are seen", directWrites},
		{"random writes are refused", randomWritesRefused},
		{"reads at random offsets", randomReads},
		{"directories", directories},
		{"a directory of 2,500 files", largeDirectory},
		{"rename of files", renameFiles},
		{"rename of directories", renameDirectories},
		{"implied directories and markers", impliedDirectories},
		{"odd names", oddNames},
		{"attributes are kept", attributes},
		{"extended attributes are kept", extendedAttributes},
		{"inode numbers are stable", inodeNumbers},
		{"unlink of an open file", unlinkOpen},
		{"what is not supported is refused", unsupported},
		{"objects of other clients", otherClients},
		{"cp -a", copyArchive},
		{"tar", tarExtract},
		{"rsync", rsyncTwice},
		{"restic", resticBackup},
		{"borg", borgBackup},
		{"many writers at once", manyWriters},
	}
}

// Run runs every case, each on a server from fresh.
func Run(t *testing.T, fresh func(t testing.TB) *harness.Server) {
	for _, c := range Cases() {
		t.Run(c.Name, func(t *testing.T) { c.Run(t, fresh(t)) })
	}
}
