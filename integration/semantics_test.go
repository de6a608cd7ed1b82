package integration

import (
	"bufio"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kmsfs/kmsfs/integration/harness"
)

// promises maps each heading of docs/SEMANTICS.md to its test.
var promises = map[string]func(*testing.T){
	"close and fsync do not lie":             closeDoesNotLie,
	"Files are written anywhere":             writtenAnywhere,
	"Errors stick":                           errorsStick,
	"Fail closed, without destroying":        failClosed,
	"Only the bucket-key setting may differ": bucketKeyMayDiffer,
	"Copies never downgrade and never strip": copiesKeepAll,
	"Atomic replacement":                     atomicReplacement,
	"Renames of directories are settled":     renamesAreSettled,
	"Close-to-open across hosts":             closeToOpen,
	"No lost update in silence":              noLostUpdate,
	"O_EXCL is exact":                        exclIsExact,
	"stat never waits for an upload":         statDoesNotWait,
	"Interrupts do not tear":                 interruptsDoNotTear,
	"Unmount and SIGTERM drain":              drains,
	"Deleted means deleted":                  deletedMeansDeleted,
	"mkdir is exact":                         mkdirIsExact,
	"Nothing is left behind":                 nothingLeftBehind,
	"POSIX metadata travels with the object": metadataTravels,
	"Symbolic links and special files":       linksAndSpecialFiles,
	"Buckets are shared with s3fs":           sharedWithS3fs,
	"Inode numbers are stable":               inodesAreStable,
	"Names":                                  namesOfKeys,
	"Only what is protected is read":         encryptionIsRequired,
	"Other users":                            otherUsers,
	"Uniform attributes":                     uniformAttributes,
	"Locks are local":                        locksAreLocal,
	"Refused, never silent":                  refusedNotSilent,
	"Nothing secret at rest":                 nothingSecretAtRest,
	"Memory is bounded":                      both(memoryIsBounded, elsewhere("load TestWritersAndReaders", "load TestManyOpenFiles", "load TestLargeDirectory", "load TestLargeFile")),
	"Programs see a file system":             elsewhere("posix TestPosix", "posix TestModel", "programs TestPrograms"),
	"A mount that died":                      elsewhere("crash TestEveryRequest", "crash TestRecovery", "crash TestRandomMoments"),
	"Faults pass or have a name":             elsewhere("faults TestTable"),
	"Backup programs can rely on it":         elsewhere("backup TestBackup"),

	// Of envelope mode alone.
	"Nothing readable leaves":                    nothingReadableLeaves,
	"One data key serves many files":             callsOfManyFiles,
	"A revoked key bites":                        keyDisabled,
	"What KMS refuses has an errno of its own":   errorsOfKMS,
	"An outage of KMS is survived":               outageOfKMS,
	"Planted objects are refused":                plantedObjects,
	"Any of several keys opens":                  severalKeys,
	"Objects are bound to their bucket":          acceptContextBucket,
	"A host may write and not read":              writeOnlyHost,
	"A grant is enough":                          grants,
	"Objects may be bound to their names":        objectScope,
	"Objects that are not sealed are left alone": foreignObjects,
	"Keys can be changed":                        rekey,
	"Objects open without a mount":               decryptWithoutMount,
}

// both is a promise with two tests.
func both(first, second func(t *testing.T)) func(t *testing.T) {
	return func(t *testing.T) {
		first(t)
		second(t)
	}
}

// elsewhere is the test of a promise that packages of their own test. Each is
// named as "PACKAGE TEST".
func elsewhere(tests ...string) func(t *testing.T) {
	return func(t *testing.T) {
		for _, name := range tests {
			dir, test, _ := strings.Cut(name, " ")
			files, err := filepath.Glob(filepath.Join(harness.Root(), "integration", dir, "*_test.go"))
			harness.Must(t, err)
			if !slices.ContainsFunc(files, func(file string) bool {
				source, err := os.ReadFile(file)
				return err == nil && strings.Contains(string(source), "\nfunc "+test+"(t *testing.T) {")
			}) {
				t.Errorf("integration/%s has no %s", dir, test)
			}
		}
	}
}

// TestSemantics runs the test of every heading, in the order of the document.
func TestSemantics(t *testing.T) {
	f, err := os.Open(filepath.Join(harness.Root(), "docs", "SEMANTICS.md"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	seen := map[string]bool{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		heading, ok := strings.CutPrefix(lines.Text(), "## ")
		if !ok {
			continue
		}
		seen[heading] = true
		promise, ok := promises[heading]
		if !ok {
			t.Errorf("docs/SEMANTICS.md promises %q, and nothing tests it", heading)
			continue
		}
		t.Run(heading, promise)
	}
	for heading := range promises {
		if !seen[heading] {
			t.Errorf("%q is tested, and docs/SEMANTICS.md does not promise it", heading)
		}
	}
}
